// The README's first command: builds, gets a real engine with a real model, runs the evaluation file through
// `npx batch-infer run --local`, scores the answers and says what it cost.
//
//   npm run demo [-- --limit 60] [--min-accuracy 0.75] [--engine-url http://HOST:PORT [--model NAME]]
//
// Exit codes: 0, 1 for a missing prerequisite, 2 for wrong usage, 3 when the accuracy is below the threshold,
// else that of the build or of `batch-infer run`.

import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { EngineUnavailableError, ensureEngine } from '../../examples/engine/ensure-engine.mjs';
import {
  expectedFile,
  formatScore,
  parseAccuracy,
  readJsonLines,
  scoreResults,
} from '../../examples/evaluation/score.mjs';
import { selectBalanced } from './select-questions.mjs';

/** @typedef {import('../../examples/evaluation/score.mjs').ExpectedAnswer} ExpectedAnswer */

const repositoryDirectory = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const evaluationFile = path.join(repositoryDirectory, 'examples', 'evaluation', 'evaluation.jsonl');
const demoDirectory = path.join(repositoryDirectory, '.local', 'demo');
const resultsFile = path.join(demoDirectory, 'results.jsonl');

/** An end with a message for people and an exit code of its own. */
class DemoError extends Error {
  /** @param {string} message @param {number} exitCode @param {ErrorOptions} [options] */
  constructor(message, exitCode, options) {
    super(message, options);
    this.name = 'DemoError';
    this.exitCode = exitCode;
  }
}

function parseOptions() {
  const { values } = parseArgs({
    options: {
      limit: { type: 'string' },
      'min-accuracy': { type: 'string', default: '0.75' },
      'engine-url': { type: 'string' },
      model: { type: 'string' },
    },
  });
  const limit = values.limit === undefined ? Number.POSITIVE_INFINITY : Number(values.limit);
  if (!(limit >= 1)) throw new TypeError(`--limit takes a number of prompts, not "${values.limit}"`);
  if (values.model !== undefined && values['engine-url'] === undefined) {
    throw new TypeError('--model goes with --engine-url: the demo engine serves one model');
  }
  return {
    limit,
    minAccuracy: parseAccuracy(values['min-accuracy']),
    engineUrl: values['engine-url'],
    model: values.model,
  };
}

/** @param {string} message */
function say(message) {
  process.stderr.write(`${message}\n`);
}

/**
 * Runs a command with this process's terminal and waits for its end, whatever it is.
 *
 * @param {string[]} words
 * @returns {Promise<number>} The exit code; 128 + 15 when a signal ended it.
 */
async function run(words) {
  const [command = '', ...commandArguments] = words;
  const child = spawn(command, commandArguments, { cwd: repositoryDirectory, stdio: 'inherit' });
  // Ctrl-C reaches the child by itself: it decides what that means, and this process waits for it.
  const ignore = () => undefined;
  const forward = () => child.kill('SIGTERM');
  process.on('SIGINT', ignore).on('SIGTERM', forward);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 143));
    });
  } finally {
    process.off('SIGINT', ignore).off('SIGTERM', forward);
  }
}

/** Turborepo skips what is fresh. */
async function build() {
  say('Building (fresh packages are skipped) ...');
  const exitCode = await run(['npm', 'run', '--silent', 'build', '--', '--output-logs=errors-only']);
  if (exitCode !== 0) throw new DemoError(`npm run build ended with exit code ${exitCode}`, exitCode);
}

/**
 * The engine's side of the command line, and the model's name.
 *
 * @param {{engineUrl: string | undefined, model: string | undefined}} options
 */
async function chooseEngine({ engineUrl, model }) {
  if (engineUrl === undefined) {
    const engine = await ensureEngine({ onProgress: say });
    return { flags: ['--launch', engine.launchCommand], model: engine.modelName };
  }
  return { flags: ['--engine-url', engineUrl], model: model ?? (await firstModel(engineUrl)) };
}

/** @param {string} engineUrl */
async function firstModel(engineUrl) {
  const url = `${engineUrl.replace(/\/+$/, '').replace(/\/v1$/, '')}/v1/models`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    const body = /** @type {{data?: {id?: unknown}[]}} */ (await response.json());
    const id = body.data?.[0]?.id;
    if (typeof id === 'string') return id;
  } catch (error) {
    throw new DemoError(`No engine answers at ${url}. Start it, or correct --engine-url.`, 1, {
      cause: error,
    });
  }
  throw new DemoError(`${url} names no model. Name it with --model.`, 1);
}

/**
 * The questions to ask, in a file of their own.
 *
 * @param {number} limit @param {string} model
 * @returns {Promise<{expected: ExpectedAnswer[], inputFile: string}>}
 */
async function prepareInput(limit, model) {
  const all = /** @type {ExpectedAnswer[]} */ (await readJsonLines(expectedFile));
  const expected = selectBalanced(all, limit);
  const lines = await readJsonLines(evaluationFile);
  const wanted = new Set(expected.map((question) => question.custom_id));
  const chosen = lines.filter((line) => wanted.has(String(line.custom_id)));
  const isUnchanged =
    chosen.length === lines.length &&
    chosen.every((line) => /** @type {{model?: unknown}} */ (line.body).model === model);
  if (isUnchanged) return { expected, inputFile: evaluationFile };
  const inputFile = path.join(demoDirectory, 'input.jsonl');
  const text = chosen.map(
    (line) => `${JSON.stringify({ ...line, body: { .../** @type {object} */ (line.body), model } })}\n`,
  );
  await writeFile(inputFile, text.join(''));
  return { expected, inputFile };
}

/** @param {string[]} words */
function showCommand(words) {
  const shown = words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `"${word}"`));
  say(`\n$ ${shown.join(' ')}\n`);
}

/** @param {Record<string, unknown>[]} results */
function latencyLine(results) {
  const latencies = results
    .map((line) => line.latency_ms)
    .filter((latency) => typeof latency === 'number')
    .toSorted((left, right) => left - right);
  if (latencies.length === 0) return [];
  const at = (/** @type {number} */ fraction) =>
    Math.round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * fraction))] ?? 0);
  return [`latency     p50 ${at(0.5)} ms, p95 ${at(0.95)} ms an item at the engine`];
}

/** @param {ReturnType<typeof parseOptions>} options */
async function main(options) {
  await mkdir(demoDirectory, { recursive: true });
  const engine = await chooseEngine(options);
  await build();
  const { expected, inputFile } = await prepareInput(options.limit, engine.model);
  await rm(resultsFile, { force: true });

  const relative = (/** @type {string} */ file) => path.relative(repositoryDirectory, file);
  const words = ['npx', 'batch-infer', 'run', relative(inputFile), '-o', relative(resultsFile), '--local'];
  // A second demo is to run again, not to find the first one's job.
  words.push(...engine.flags, '--model', engine.model, '--new');
  showCommand(words);
  const startedAtMs = performance.now();
  const exitCode = await run(words);
  const seconds = (performance.now() - startedAtMs) / 1000;
  // 3 is "some items failed": the others have answers, which are worth scoring.
  if (exitCode !== 0 && exitCode !== 3)
    throw new DemoError(`batch-infer run ended with exit code ${exitCode}`, exitCode);

  const results = await readJsonLines(resultsFile);
  const score = scoreResults(expected, results);
  const lines = [
    '',
    formatScore(score),
    '',
    `items       ${score.answered} of ${score.total} answered in ${seconds.toFixed(1)} s, start of stack and engine included: ${(score.answered / seconds).toFixed(1)} items/s`,
    `tokens      ${score.usage.inputTokens} in, ${score.usage.outputTokens} out: ${((score.usage.inputTokens + score.usage.outputTokens) / seconds).toFixed(0)} tokens/s`,
    ...latencyLine(results),
    `results     ${relative(resultsFile)}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  if (exitCode !== 0) process.exitCode = exitCode;
  if (score.accuracy < options.minAccuracy) {
    say(`accuracy ${score.accuracy.toFixed(3)} is below the threshold of ${options.minAccuracy}`);
    process.exitCode = 3;
  }
}

function readOptionsOrExit() {
  try {
    return parseOptions();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    say(error.message);
    process.exit(2);
  }
}

try {
  await main(readOptionsOrExit());
} catch (error) {
  if (!(error instanceof DemoError || error instanceof EngineUnavailableError)) throw error;
  say(error.message);
  process.exitCode = error instanceof DemoError ? error.exitCode : 1;
}
