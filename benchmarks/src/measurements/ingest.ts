import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { BatchClient } from '../clients/batch-client.ts';
import { NativeClient } from '../clients/native-client.ts';
import { cpuSecondsBetween, type Stack } from '../harness/stack.ts';
import { inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { megabytes, showEstimate } from '../report.ts';
import { type Input, writeInput } from '../workload.ts';

const LINE_BYTES = 1_000;
const ITEMS = 200_000;
const FULL_ITEMS = 1_000_000;
const MOST_REPETITIONS = 3;

interface IngestRun {
  readonly uploadMs: number;
  /** Create alone; 0 where upload and create are one request. */
  readonly createMs: number;
  /** From the create reply until the job waits for a runner, every shard planned. */
  readonly planMs: number;
  readonly listMs: number;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

/** A big file goes in: how fast, in how much memory, and how soon it could run. No runner, so nothing else happens. */
export const ingest: Measurement = {
  title: 'A big file goes in',
  async run(options) {
    const items = options.full ? FULL_ITEMS : ITEMS;
    const input = await writeInput({
      file: inputFile(options, 'ingest.jsonl'),
      items,
      salt: 'ingest',
      lineBytes: LINE_BYTES,
    });
    const floor = await hashRate(input);
    const data: Record<string, IngestRun[]> = {};
    for (const [name, run] of [
      ['POST /v1/files, then /v1/batches', throughBatches],
      ['POST /v1/jobs, NDJSON', throughJobs],
    ] as const) {
      const runs: IngestRun[] = [];
      for (let index = 0; index < Math.min(options.repetitions, MOST_REPETITIONS); index += 1) {
        // A fresh control plane each time, so that its peak is of one file.
        const done = await withStack(startStack(options, { serviceMs: 0 }, { runners: 0 }), (stack) =>
          run(stack, input),
        );
        runs.push(done);
        options.say(`ingest ${name} ${index + 1}: ${JSON.stringify(done)}`);
      }
      data[name] = runs;
    }
    return {
      data: { floorMegabytesPerSecond: floor, runs: data },
      tables: [
        {
          caption: `${items.toLocaleString('en')} lines, ${megabytes(input.bytes)}, streamed over loopback; a fresh control plane each time. For scale: reading and hashing (SHA-256) the same file in one Node process runs at ${floor.toFixed(0)} MB/s here.`,
          columns: [
            'driven by',
            'MB/s',
            'upload s',
            'create ms',
            'planned after ms',
            'list ms',
            'CPU s per 1,000 items',
            'peak RSS of the control plane',
          ],
          rows: Object.entries(data).map(([name, runs]) => [
            name,
            `**${showEstimate(
              runs.map(({ uploadMs }) => input.bytes / 1e6 / (uploadMs / 1_000)),
              0,
            )}**`,
            showEstimate(runs.map(({ uploadMs }) => uploadMs / 1_000)),
            showEstimate(
              runs.map(({ createMs }) => createMs),
              0,
            ),
            showEstimate(
              runs.map(({ planMs }) => planMs),
              0,
            ),
            showEstimate(
              runs.map(({ listMs }) => listMs),
              0,
            ),
            showEstimate(
              runs.map(({ cpuSeconds }) => cpuSeconds / (items / 1_000)),
              3,
            ),
            megabytes(Math.max(...runs.map(({ peakRssBytes }) => peakRssBytes))),
          ]),
        },
      ],
    };
  },
};

async function throughBatches(stack: Stack, input: Input): Promise<IngestRun> {
  const client = new BatchClient(stack.serverUrl);
  const before = stack.usage();
  const startedAt = performance.now();
  const fileId = await client.upload(input.file);
  const uploadedAt = performance.now();
  const { id } = await client.create(fileId);
  const createdAt = performance.now();
  const planMs = await planned(stack, id.replace('batch_', 'job_'));
  const listMs = await timed(() => client.list());
  await client.close();
  return finish(stack, before, {
    uploadMs: uploadedAt - startedAt,
    createMs: createdAt - uploadedAt,
    planMs,
    listMs,
  });
}

async function throughJobs(stack: Stack, input: Input): Promise<IngestRun> {
  const client = new NativeClient(stack.serverUrl);
  const before = stack.usage();
  const startedAt = performance.now();
  const { id } = await client.submitFile(input.file);
  const uploadMs = performance.now() - startedAt;
  const planMs = await planned(stack, id);
  const listMs = await timed(() => client.list());
  await client.close();
  return finish(stack, before, { uploadMs, createMs: 0, planMs, listMs });
}

function finish(
  stack: Stack,
  before: ReturnType<Stack['usage']>,
  times: Omit<IngestRun, 'cpuSeconds' | 'peakRssBytes'>,
): IngestRun {
  const after = stack.usage();
  return {
    ...times,
    cpuSeconds: cpuSecondsBetween(before, after),
    peakRssBytes: after['control plane']?.peakRssBytes ?? 0,
  };
}

/** Milliseconds until the job has left `validating`. */
async function planned(stack: Stack, id: string): Promise<number> {
  const client = new NativeClient(stack.serverUrl);
  const milliseconds = await timed(async () => {
    let job = await client.get(id);
    while (job.phase === 'validating') {
      await delay(5);
      job = await client.get(id);
    }
    if (job.phase !== 'queued') throw new Error(`the job is ${job.phase}`);
  });
  await client.close();
  return milliseconds;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await run();
  return performance.now() - startedAt;
}

/** MB/s of a second reading, when the file is in the page cache. */
async function hashRate(input: Input): Promise<number> {
  const read = async () => {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(input.file, { highWaterMark: 1 << 20 }))
      hash.update(chunk as Buffer);
    return hash.digest('hex');
  };
  await read();
  return input.bytes / 1e6 / ((await timed(read)) / 1_000);
}
