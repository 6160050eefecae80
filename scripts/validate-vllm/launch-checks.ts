import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { InstalledVllm } from './install-vllm.ts';
import { Product } from './product.ts';
import type { Recording } from './recording.ts';
import { type Check, rate, seconds } from './table.ts';
import { OFFLINE } from './vllm-server.ts';

const ITEMS = 256;
const OUTPUT_TOKENS = 64;
/** What the preset leaves to us, and what is less here than it says. */
const OWN_FLAGS = ['--max-model-len', '2048', '--kv-cache-memory-bytes', '1G'];
const PRESET_FLAGS = [
  '--max-num-seqs',
  '32',
  '--dtype',
  'bfloat16',
  '--enforce-eager',
  '--enable-prefix-caching',
];
const STOP_LIMIT_MS = 120_000;
/** Side by side in time, because the load of a machine changes. */
const PAIRS = 2;

/** vLLM under `batch-infer runner --preset`, from its launch to its end, and beside `vllm run-batch`. */
export async function checkLaunch(installed: InstalledVllm, recording: Recording): Promise<Check[]> {
  const bodies = Array.from({ length: ITEMS }, (_, index) => ({
    model: installed.modelName,
    messages: [{ role: 'user', content: `Tell story number ${index}.` }],
    ...{ max_tokens: OUTPUT_TOKENS, temperature: 0, ignore_eos: true },
  }));
  const fromMs = performance.now();
  const { product, runner, launched } = await Product.launch(installed, OWN_FLAGS);
  await using _disposed = product;
  const startMs = performance.now() - fromMs;
  const run = await product.run('launched', bodies);
  const pairs: { readonly ourMs: number; readonly theirMs: number }[] = [];
  for (let pair = 0; pair < PAIRS; pair += 1) {
    // Our engine waits meanwhile, without work.
    const theirMs = await runBatch(installed, bodies);
    const { ms: ourMs } = await product.run(`pair-${pair}`, bodies);
    pairs.push({ ourMs, theirMs });
  }
  recording.figure('run-batch', { items: ITEMS, pairs });
  const ratios = pairs.map(({ ourMs, theirMs }) => ourMs / theirMs);
  const end = await endInFlight(product, runner);
  return [
    {
      name: '`batch-infer runner --preset vllm-cpu --launch "vllm serve MODEL"`',
      seen: `ready after ${seconds(startMs)}; added ${addedTo(launched)}`,
      holds:
        PRESET_FLAGS.every((word) => launched.includes(word)) &&
        launched.includes('--kv-cache-memory-bytes 1G'),
    },
    {
      name: `a job at the launched engine, ${ITEMS} items, ${OUTPUT_TOKENS} tokens each`,
      seen: `${run.succeeded} of ${run.items} in ${seconds(run.ms)}, ${rate(run.outputTokensPerSecond)} tokens/s`,
      holds: run.succeeded === run.items,
    },
    {
      name: 'SIGTERM to the runner with requests in flight',
      seen: `exit code ${end.exitCode} after ${seconds(end.ms)}; ${end.processes} processes below it before, ${end.left} left; items failed: ${end.failed}`,
      holds: end.exitCode === 0 && end.processes > 1 && end.left === 0 && end.failed === 0,
    },
    {
      name: 'the same lines through `vllm run-batch`, the same engine flags, without its start',
      seen: `${pairs.map(({ ourMs, theirMs }) => `${seconds(theirMs)}, then ours ${seconds(ourMs)}`).join('; ')}: we take × ${ratios.map((ratio) => ratio.toFixed(2)).join(' and ')}, with every result durable`,
      holds: Math.min(...ratios) <= 1.15,
    },
  ];
}

/** Flags behind the last one that we gave. */
const addedTo = (launched: string): string => {
  const at = launched.lastIndexOf('--kv-cache-memory-bytes 1G');
  return at === -1 ? 'nothing' : launched.slice(at + '--kv-cache-memory-bytes 1G'.length).trim();
};

interface End {
  readonly exitCode: number | null;
  readonly ms: number;
  readonly processes: number;
  readonly left: number;
  readonly failed: number;
}

async function endInFlight(
  product: Product,
  runner: { pid: number; stop(limitMs: number): Promise<number | null> },
): Promise<End> {
  const long = Array.from({ length: 8 }, (_, index) =>
    product.engine.chatBody(`Tell a long story ${index}.`, 1_500),
  );
  const job = await product.submit('cut-off', long);
  while ((await product.engine.metric('vllm:num_requests_running')) < long.length) await delay(50);
  const below = descendantsOf(runner.pid);
  const fromMs = performance.now();
  const exitCode = await runner.stop(STOP_LIMIT_MS);
  const ms = performance.now() - fromMs;
  const left = below.filter(isRunning).length;
  const { counts } = await product.look(job.id);
  return { exitCode, ms, processes: below.length, left, failed: counts.failed };
}

interface Process {
  readonly pid: number;
  /** Tells it from a later process with the same number. */
  readonly startedAt: string;
}

interface ProcessStat extends Process {
  readonly parent: number;
  readonly state: string;
}

/** What the kernel says of a process; `null` when there is none. */
function statOf(pid: number): ProcessStat | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Its name, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { pid, state: fields[0] ?? '', parent: Number(fields[1]), startedAt: fields[19] ?? '' };
  } catch {
    return null;
  }
}

function descendantsOf(ancestor: number): Process[] {
  const all = readdirSync('/proc').flatMap((name) => {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : null;
    return stat === null ? [] : [stat];
  });
  const found: Process[] = [];
  for (let parents = [ancestor]; parents.length > 0; ) {
    const children = all.filter(({ parent }) => parents.includes(parent));
    found.push(...children);
    parents = children.map(({ pid }) => pid);
  }
  return found;
}

function isRunning({ pid, startedAt }: Process): boolean {
  const stat = statOf(pid);
  return stat !== null && stat.startedAt === startedAt && !['Z', 'X'].includes(stat.state);
}

/** Milliseconds from where it reads its input until it writes its output: without the start of the engine. */
async function runBatch(
  { command, weightsFolder, modelName }: InstalledVllm,
  bodies: readonly unknown[],
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-run-batch-'));
  const [input, output] = [join(folder, 'input.jsonl'), join(folder, 'output.jsonl')];
  const lines = bodies.map((body, index) =>
    JSON.stringify({ custom_id: `item-${index}`, method: 'POST', url: '/v1/chat/completions', body }),
  );
  writeFileSync(input, `${lines.join('\n')}\n`);
  const files = ['-i', input, '-o', output, '--model', weightsFolder, '--served-model-name', modelName];
  const child = spawn(command, ['run-batch', ...files, ...OWN_FLAGS, ...PRESET_FLAGS], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...OFFLINE },
  });
  let talk = '';
  let readAtMs = Number.NaN;
  let writtenAtMs = Number.NaN;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      talk = (talk + text).slice(-20_000);
      if (Number.isNaN(readAtMs) && talk.includes('Reading batch from')) readAtMs = performance.now();
      if (Number.isNaN(writtenAtMs) && talk.includes('Writing outputs to')) writtenAtMs = performance.now();
    });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const code = await new Promise((resolve) => child.once('close', resolve));
  process.off('exit', kill);
  if (code !== 0 || Number.isNaN(readAtMs)) throw new Error(`vllm run-batch ended with ${code}:\n${talk}`);
  const written = readFileSync(output, 'utf8').trim().split('\n');
  const succeeded = written.filter((line) => {
    const { response } = JSON.parse(line) as { response: { status_code: number } | null };
    return response?.status_code === 200;
  }).length;
  rmSync(folder, { recursive: true, force: true });
  if (succeeded < bodies.length) throw new Error(`vllm run-batch: only ${succeeded} lines succeeded`);
  return writtenAtMs - readAtMs;
}
