/**
 * How long the planner takes for a large job, and how much memory: `node scripts/plan-scale.ts [items] [bytes a line]`,
 * after `npm run build`. Prompts of 2,000 groups take turns, so that every line has to move.
 */
import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { openFolderBlobs } from '../packages/control-plane/dist/blobs/fs.js';
import { WorkPlans } from '../packages/control-plane/dist/plan/work-plans.js';
import { watchProcess } from './process-watch.ts';

const items = Number(process.argv[2] ?? 1_000_000);
const lineBytes = Number(process.argv[3] ?? 1_400);
/** Where a process of its own writes the input, so that its memory does not count. */
const generateInto = process.argv[4];
const groups = 2_000;
const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

if (generateInto !== undefined) {
  await pipeline(Readable.from(lines()), createWriteStream(generateInto));
  process.exit();
}
const folder = await mkdtemp(join(tmpdir(), 'batch-infer-plan-scale-'));
try {
  const blobs = await openFolderBlobs(folder);
  const file = join(folder, 'p', 'inputs', 'one');
  await mkdir(join(folder, 'p', 'inputs'), { recursive: true });
  execFileSync(process.execPath, [import.meta.filename, String(items), String(lineBytes), file]);
  const bytes = (await stat(file)).size;
  const end = watchProcess();
  const startedMs = performance.now();
  let orderedMs = 0;
  const plans = new WorkPlans(blobs);
  const put = blobs.put.bind(blobs);
  // The first thing it stores shows that the order stands.
  blobs.put = (params) => {
    if (orderedMs === 0) orderedMs = performance.now() - startedMs;
    return put(params);
  };
  const plan = await plans.make({
    job: jobOf('p/inputs/one'),
    summary: summaryOf(bytes),
    onProgress: async () => {},
  });
  const watched = end();
  console.log(
    JSON.stringify({
      items,
      inputMegabytes: megabytes(bytes),
      shards: plan?.shards.length ?? null,
      orderedSeconds: orderedMs / 1_000,
      megabytesPerSecond: Math.round(bytes / 1e6 / watched.seconds),
      ...watched,
    }),
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}

function* lines(): Generator<Buffer> {
  const filler = 'word '.repeat(Math.ceil(lineBytes / 5)).slice(0, Math.max(0, lineBytes - 1_300));
  let batch: string[] = [];
  for (let index = 0; index < items; index += 1) {
    const group = `${(index * 7_919) % groups} `;
    const content = `${group.repeat(Math.ceil(1_100 / group.length))}${filler}`;
    const body = { model: 'm', max_tokens: 1 + ((index * 31) % 997), messages: [{ role: 'user', content }] };
    batch.push(JSON.stringify({ custom_id: `item-${index}`, url: '/v1/chat/completions', body }));
    if (batch.length < 1_000) continue;
    yield Buffer.from(`${batch.join('\n')}\n`);
    batch = [];
  }
  if (batch.length > 0) yield Buffer.from(`${batch.join('\n')}\n`);
}

function summaryOf(bytes: number): Parameters<WorkPlans['make']>[0]['summary'] {
  const none = { count: 0, lines: [] };
  return {
    items,
    bytes,
    models: { m: items },
    urls: {},
    linesWithoutModel: none,
    linesWithoutUrl: none,
    shards: [{ first: 0, count: 256, offset: 0, bytes: 256_000, model: 'm' }],
  };
}

function jobOf(inputBlobKey: string): Parameters<WorkPlans['make']>[0]['job'] {
  return {
    id: 'job_scale',
    projectId: 'p',
    state: 'validating',
    dialect: 'native',
    inputFileId: 'file-scale',
    inputBlobKey,
    options: {},
    models: ['m'],
    priority: 'normal',
    completionWindow: '24h',
    total: items,
    succeeded: 0,
    failed: 0,
    reused: 0,
    cancelled: 0,
    expired: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    errorGroups: [],
    inputErrors: [],
    endReason: null,
    outputFileId: null,
    errorFileId: null,
    version: 1,
    createdAtMs: 0,
    queuedAtMs: null,
    startedAtMs: null,
    finalizingAtMs: null,
    cancellingAtMs: null,
    pausedAtMs: null,
    problem: null,
    giveUpAtMs: null,
    finishedAtMs: null,
    expiresAtMs: 0,
  };
}
