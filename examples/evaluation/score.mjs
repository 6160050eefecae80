// Scores the answers of a run of evaluation.jsonl. Plain Node without dependencies.
//
//   node examples/evaluation/score.mjs results.jsonl [--min-accuracy 0.75] [--json] [--expected expected.jsonl]
//
// Reads result lines of the native API and of OpenAI's batch output files. Exit codes: 0, 2 for wrong usage or
// unreadable input, 3 when the accuracy is below the threshold.

import { createReadStream } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * @typedef {{custom_id: string, kind: string, rule: 'contains' | 'last_integer', accept: string[],
 *   reject?: string[]}} ExpectedAnswer `contains`: one of `accept` stands in the answer as a word and none of `reject`
 *   does. `last_integer`: the last integer of the answer is one of `accept`.
 * @typedef {{total: number, answered: number, correct: number, accuracy: number}} Tally `accuracy` is correct / total,
 *   so an unanswered question counts as wrong; 0 when there are no questions.
 * @typedef {Tally & {unanswered: string[], unexpected: string[], duplicated: string[], byKind: Record<string, Tally>,
 *   usage: {inputTokens: number, outputTokens: number}}} Score The lists hold custom ids: expected but without a
 *   successful answer, answered but not expected, and answered more than once (the first answer counts).
 */

/** Where the expected answers of `evaluation.jsonl` stand. */
export const expectedFile = path.join(path.dirname(fileURLToPath(import.meta.url)), 'expected.jsonl');

/**
 * Scores results against expected answers. Pure.
 *
 * @param {Iterable<ExpectedAnswer>} expected
 * @param {Iterable<Record<string, unknown>>} results Parsed result lines, native or OpenAI's, in any order.
 * @returns {Score}
 */
export function scoreResults(expected, results) {
  const answers = new Map();
  const duplicated = new Set();
  const usage = { inputTokens: 0, outputTokens: 0 };
  for (const line of results) {
    const customId = String(line.custom_id);
    const body = successfulBody(line);
    if (body === null) continue;
    if (answers.has(customId)) {
      duplicated.add(customId);
      continue;
    }
    answers.set(customId, answerText(body));
    usage.inputTokens += tokenCount(body, 'prompt_tokens', 'input_tokens');
    usage.outputTokens += tokenCount(body, 'completion_tokens', 'output_tokens');
  }

  const total = emptyTally();
  /** @type {Record<string, Tally>} */
  const byKind = {};
  const unanswered = [];
  const expectedIds = new Set();
  for (const question of expected) {
    expectedIds.add(question.custom_id);
    const kindTally = byKind[question.kind] ?? emptyTally();
    byKind[question.kind] = kindTally;
    const answer = answers.get(question.custom_id);
    if (answer === undefined) unanswered.push(question.custom_id);
    for (const tally of [total, kindTally]) countAnswer(tally, question, answer);
  }
  const unexpected = [...answers.keys()].filter((customId) => !expectedIds.has(customId));
  return { ...total, unanswered, unexpected, duplicated: [...duplicated], byKind, usage };
}

/** @param {Tally} tally @param {ExpectedAnswer} question @param {string | undefined} answer */
function countAnswer(tally, question, answer) {
  tally.total += 1;
  if (answer !== undefined) tally.answered += 1;
  if (answer !== undefined && isCorrect(question, answer)) tally.correct += 1;
  tally.accuracy = tally.correct / tally.total;
}

/** @returns {Tally} */
function emptyTally() {
  return { total: 0, answered: 0, correct: 0, accuracy: 0 };
}

/**
 * Whether an answer is right by the question's rule. Case and punctuation around words do not count.
 *
 * @param {ExpectedAnswer} question @param {string} answer
 */
export function isCorrect(question, answer) {
  if (question.rule === 'last_integer') {
    const integers = answer.match(/(?<![\d.])-?\d+(?!\.?\d)/g) ?? [];
    const last = integers.at(-1);
    return last !== undefined && question.accept.includes(String(Number(last)));
  }
  const accepted = question.accept.some((phrase) => containsPhrase(answer, phrase));
  return accepted && !(question.reject ?? []).some((phrase) => containsPhrase(answer, phrase));
}

/** @param {string} text @param {string} phrase */
function containsPhrase(text, phrase) {
  const pattern = phrase.normalize('NFC').replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(?<![\\p{L}\\p{N}])${pattern}(?![\\p{L}\\p{N}])`, 'iu').test(text.normalize('NFC'));
}

/**
 * The engine's body of a successful line, or null.
 *
 * @param {Record<string, unknown>} line
 * @returns {Record<string, unknown> | null}
 */
function successfulBody(line) {
  const response = asRecord(line.response);
  if (response === null) return null;
  // Native: {status, response: body}. OpenAI: {response: {status_code, body}, error}.
  if (typeof line.status === 'string') return line.status === 'succeeded' ? response : null;
  return response.status_code === 200 ? asRecord(response.body) : null;
}

/** Text of a chat completion, "" when there is none. @param {Record<string, unknown>} body */
function answerText(body) {
  const choice = Array.isArray(body.choices) ? asRecord(body.choices[0]) : null;
  const content = choice === null ? null : asRecord(choice.message)?.content;
  return typeof content === 'string' ? content : '';
}

/** @param {Record<string, unknown>} body @param {string[]} names */
function tokenCount(body, ...names) {
  const usage = asRecord(body.usage) ?? {};
  const count = names.map((name) => usage[name]).find((value) => typeof value === 'number');
  return typeof count === 'number' ? count : 0;
}

/** @param {unknown} value @returns {Record<string, unknown> | null} */
function asRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? /** @type {Record<string, unknown>} */ (value)
    : null;
}

/**
 * Parses a JSON Lines file, skipping blank lines.
 *
 * @param {string} file
 * @returns {Promise<Record<string, unknown>[]>}
 * @throws {Error} naming the file and the line when a line is no JSON object.
 */
export async function readJsonLines(file) {
  const records = [];
  let lineNumber = 0;
  for await (const text of createInterface({
    input: createReadStream(file),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    lineNumber += 1;
    if (text.trim() === '') continue;
    try {
      const record = asRecord(JSON.parse(text));
      if (record === null) throw new TypeError('not an object');
      records.push(record);
    } catch (error) {
      throw new Error(`${file} line ${lineNumber} is not a JSON object`, { cause: error });
    }
  }
  return records;
}

/** The score as a table for people. @param {Score} score */
export function formatScore(score) {
  const row = (/** @type {string[]} */ ...cells) =>
    cells.map((cell, column) => (column === 0 ? cell.padEnd(12) : cell.padStart(11))).join('');
  const tallyRow = (/** @type {string} */ name, /** @type {Tally} */ tally) =>
    row(
      name,
      `${tally.total}`,
      `${tally.answered}`,
      `${tally.correct}`,
      `${(tally.accuracy * 100).toFixed(1)} %`,
    );
  const lines = [
    row('kind', 'questions', 'answered', 'correct', 'accuracy'),
    ...Object.entries(score.byKind).map(([name, tally]) => tallyRow(name, tally)),
    tallyRow('total', score),
  ];
  const remarks = {
    unanswered: score.unanswered,
    'not in the expected answers': score.unexpected,
    'answered twice': score.duplicated,
  };
  for (const [label, customIds] of Object.entries(remarks)) {
    if (customIds.length === 0) continue;
    const sample = customIds.slice(0, 5).join(', ');
    lines.push(`${label}: ${customIds.length} (${sample}${customIds.length > 5 ? ', ...' : ''})`);
  }
  return lines.join('\n');
}

/**
 * A fraction given on the command line.
 *
 * @param {string} text
 * @throws {TypeError} unless it is a number from 0 to 1.
 */
export function parseAccuracy(text) {
  const fraction = text.trim() === '' ? Number.NaN : Number(text);
  if (!(fraction >= 0 && fraction <= 1))
    throw new TypeError(`--min-accuracy takes a number from 0 to 1, not "${text}"`);
  return fraction;
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'min-accuracy': { type: 'string', default: '0' },
      expected: { type: 'string', default: expectedFile },
      json: { type: 'boolean', default: false },
    },
  });
  const [resultsFile, ...rest] = positionals;
  if (resultsFile === undefined || rest.length > 0) {
    throw new TypeError(
      'usage: score.mjs results.jsonl [--min-accuracy 0.75] [--json] [--expected expected.jsonl]',
    );
  }
  const minAccuracy = parseAccuracy(values['min-accuracy']);
  const expected = /** @type {ExpectedAnswer[]} */ (await readJsonLines(values.expected));
  const score = scoreResults(expected, await readJsonLines(resultsFile));
  process.stdout.write(`${values.json ? JSON.stringify(score) : formatScore(score)}\n`);
  if (score.accuracy < minAccuracy) {
    process.stderr.write(`accuracy ${score.accuracy.toFixed(3)} is below the threshold of ${minAccuracy}\n`);
    process.exitCode = 3;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(path.resolve(process.argv[1])).href) {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}
