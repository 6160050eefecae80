/**
 * How long it takes to plan a job whose answers an earlier job of its project has, and how much memory:
 * `node scripts/reuse-scale.ts [items] [changed items of a hundred] [bytes an answer]`, after `npm run build`. With a real
 * ledger (SQLite) and a real folder; what the earlier job's runner would have done is made up by a process of its own.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { encodeSegmentLine, LIMITS } from '../packages/contracts/dist/index.js';
import { JsonlScanner } from '../packages/contracts/dist/jsonl.js';
import { openFolderBlobs } from '../packages/control-plane/dist/blobs/fs.js';
import { ItemReader } from '../packages/control-plane/dist/jobs/item-reader.js';
import { JobTries } from '../packages/control-plane/dist/jobs/job-tries.js';
import { internalInput, newJob } from '../packages/control-plane/dist/jobs/new-job.js';
import { Planner } from '../packages/control-plane/dist/jobs/planner.js';
import { openLedger } from '../packages/control-plane/dist/ledger/sql-ledger.js';
import { JobPlans } from '../packages/control-plane/dist/plan/job-plans.js';
import { WorkPlans } from '../packages/control-plane/dist/plan/work-plans.js';
import { Signals } from '../packages/control-plane/dist/ports/signals.js';
import { EarlierAnswers } from '../packages/control-plane/dist/reuse/earlier-answers.js';
import { silentLogger } from '../packages/control-plane/dist/telemetry/logger.js';
import { watchProcess } from './process-watch.ts';

const PROJECT = 'default';
const items = Number(process.argv[2] ?? 1_000_000);
const changedOfHundred = Number(process.argv[3] ?? 0);
const answerBytes = Number(process.argv[4] ?? 400);
/** Where a process of its own makes the two jobs, so that its memory does not count. */
const prepareIn = process.argv[5];
const clock = { nowMs: () => Date.now() };

const folder = prepareIn ?? (await mkdtemp(join(tmpdir(), 'batch-infer-reuse-scale-')));
const ledger = await openLedger({ sqliteFile: join(folder, 'ledger.sqlite'), clock });
await ledger.migrate();
const blobs = await openFolderBlobs(join(folder, 'blobs'));
const signals = new Signals();
const reader = new ItemReader(ledger, blobs, clock);
const answers = new EarlierAnswers(ledger, blobs, clock, reader);
const plans = new JobPlans(new WorkPlans(blobs), answers, blobs, clock, silentLogger());
const tries = new JobTries(ledger, blobs, clock, signals, silentLogger());
const planner = new Planner(ledger, clock, signals, plans, tries);
try {
  if (prepareIn === undefined) await measure();
  else {
    await planner.tick(await createJob(false));
    await answerAll();
    await createJob(true);
  }
} finally {
  await ledger.close();
  if (prepareIn === undefined) await rm(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const words = [items, changedOfHundred, answerBytes].map(String);
  execFileSync(process.execPath, [import.meta.filename, ...words, folder]);
  const nowMs = Date.now();
  const [waiting] = await ledger.listUnplanned({ createdBeforeMs: nowMs + 1, small: false, limit: 1, nowMs });
  if (waiting === undefined) throw new Error('no job waits for its plan');
  const end = watchProcess();
  await planner.tick(waiting.id);
  const watched = end();
  const job = await ledger.getJob({ projectId: PROJECT, id: waiting.id });
  console.log(JSON.stringify({ items, reused: job?.reused, state: job?.state, ...watched }));
}

async function createJob(changed: boolean): Promise<string> {
  const blobKey = `${PROJECT}/inputs/${changed ? 'two' : 'one'}`;
  const scanner = new JsonlScanner({});
  const { bytes } = await blobs.put({ key: blobKey, body: Readable.from(scanned(scanner, changed)) });
  const { summary } = scanner.end();
  const nowMs = Date.now();
  const file = internalInput({
    ...{
      id: `file-${changed ? 'two' : 'one'}`,
      projectId: PROJECT,
      blobKey,
      bytes,
      sha256: '',
      summary,
      nowMs,
    },
  });
  const input = { id: file.id, blobKey, summary };
  const options = { model: 'm', endpoint: '/v1/chat/completions', reuse: 'project' } as const;
  const job = newJob({ projectId: PROJECT, dialect: 'native', input, options, refused: false, nowMs });
  const idempotency = {
    ...{ projectId: PROJECT, route: 'POST /v1/jobs', key: job.id, fingerprint: job.id, isRetry: false },
  };
  await ledger.createJob({ job, file, shards: null, idempotency, nowMs });
  return job.id;
}

function* scanned(scanner: JsonlScanner, changed: boolean): Generator<Buffer> {
  let batch: string[] = [];
  for (let index = 0; index < items; index += 1) {
    const isChanged = changed && index % 100 < changedOfHundred;
    const content = `${isChanged ? 'changed ' : ''}question ${index} ${'word '.repeat(60)}`;
    const body = { temperature: 0, messages: [{ role: 'user', content }] };
    batch.push(JSON.stringify({ custom_id: `item-${index}`, url: '/v1/chat/completions', body }));
    if (batch.length < 1_000 && index + 1 < items) continue;
    const bytes = Buffer.from(`${batch.join('\n')}\n`);
    scanner.push(bytes);
    yield bytes;
    batch = [];
  }
}

/** Settles every item of what is ready. */
async function answerAll(): Promise<void> {
  const body = Buffer.from(JSON.stringify({ choices: [{ message: { content: 'x'.repeat(answerBytes) } }] }));
  for (;;) {
    const nowMs = Date.now();
    const offered = await ledger.takeOffers({ staleBeforeMs: 0, limit: 256, nowMs });
    if (offered.length === 0) return;
    for (const { id: shardId, epoch } of offered) {
      const claimed = await ledger.claimShard({ shardId, epoch, runnerId: 'r', leaseMs: 60_000, nowMs });
      if (claimed.outcome !== 'claimed') throw new Error('a claim was refused');
      const { shard } = claimed;
      const indexes = Array.from({ length: shard.count }, (_, at) => shard.indexes?.[at] ?? shard.first + at);
      const lines = indexes.map((index) => {
        const header = { i: index, c: `item-${index}`, ok: true, st: 200, a: 1, ms: 9, r: `run-${index}` };
        return encodeSegmentLine({ ...header, u: [90, 0, 90, 0] }, body);
      });
      const segment = Buffer.concat(lines);
      const blobKey = `${PROJECT}/segments/${shard.jobId}/${shardId}`;
      await blobs.put({ key: blobKey, body: segment });
      await ledger.settle({
        ...{ shardId, epoch: shard.epoch, segment: { blobKey, bytes: segment.length }, nowMs },
        outcomes: indexes.map((index) => ({
          ...{ index, customId: `item-${index}`, ok: true, error: null, usage: null },
        })),
      });
    }
  }
}

if (LIMITS.reuseSearchItems < items) console.warn('more items than are looked through for answers');
