import { join } from 'node:path';
import type { FaultRule } from '@batch-infer/testkit';
import { BatchClient } from '../clients/batch-client.ts';
import type { Stack } from '../harness/stack.ts';
import { type BenchOptions, inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { type Outcomes, readOutcomes } from '../outcomes.ts';
import { showEstimate } from '../report.ts';
import { median } from '../stats.ts';
import { writeInput } from '../workload.ts';

const ITEMS = 3_000;
const SERVICE_MS = 50;
const SHARE = 0.1;

interface Kind {
  readonly name: string;
  readonly rules: readonly FaultRule[];
  readonly poisonEvery?: number;
}

const KINDS: readonly Kind[] = [
  {
    name: '10 % of requests 500',
    rules: [{ match: { rate: SHARE }, action: { kind: 'status', status: 500 } }],
  },
  { name: '10 % of requests reset', rules: [{ match: { rate: SHARE }, action: { kind: 'reset' } }] },
  {
    name: '10 % of requests 429, Retry-After 1',
    rules: [{ match: { rate: SHARE }, action: { kind: 'status', status: 429, retryAfterSeconds: 1 } }],
  },
  {
    name: '10 % of items always 500',
    rules: [{ match: { bodyIncludes: ' poison ' }, action: { kind: 'status', status: 500 } }],
    poisonEvery: 1 / SHARE,
  },
];

interface FaultRun {
  readonly cleanMs: number;
  readonly faultMs: number;
  readonly outcomes: Outcomes;
  /** Requests that reached the engine, for each item. */
  readonly requestsPerItem: number;
}

/** A job while the engine misbehaves, over the same job right before it while it does not. */
export const fault: Measurement = {
  title: 'A misbehaving engine',
  async run(options) {
    const data: Record<string, FaultRun[]> = {};
    for (const kind of KINDS) data[kind.name] = await measure(options, kind);
    return {
      data,
      tables: [
        {
          caption: `${ITEMS.toLocaleString('en')} items, engine 64 slots × ${SERVICE_MS} ms; a clean job and one with faults in turn, ${options.repetitions} repetitions each, median (95 % interval). Faults strike on arrival.`,
          columns: [
            'fault',
            'clean s',
            'with faults s',
            'ratio',
            'items failed, of all',
            'lost or doubled',
            'requests per item',
          ],
          rows: Object.entries(data).map(([name, runs]) => [
            name,
            showEstimate(runs.map(({ cleanMs }) => cleanMs / 1_000)),
            showEstimate(runs.map(({ faultMs }) => faultMs / 1_000)),
            `**${showEstimate(runs.map(({ cleanMs, faultMs }) => faultMs / cleanMs))}**`,
            `${runs.reduce((sum, { outcomes }) => sum + outcomes.lines - outcomes.succeeded, 0)} of ${(ITEMS * runs.length).toLocaleString('en')}`,
            String(runs.reduce((sum, { outcomes }) => sum + outcomes.lost + outcomes.doubled, 0)),
            median(runs.map(({ requestsPerItem }) => requestsPerItem)).toFixed(2),
          ]),
        },
      ],
    };
  },
};

async function measure(options: BenchOptions, kind: Kind): Promise<FaultRun[]> {
  return await withStack(startStack(options, { serviceMs: SERVICE_MS, requestLog: true }), async (stack) => {
    const runs: FaultRun[] = [];
    // A first job, not counted.
    await runJob(options, stack, 'warm-up', kind);
    for (let index = 0; index < options.repetitions; index += 1) {
      const clean = await runJob(options, stack, `clean ${index}`, kind);
      await stack.engine.setFaults(kind.rules);
      const faulty = await runJob(options, stack, `fault ${index}`, kind);
      await stack.engine.setFaults([]);
      const run = {
        cleanMs: clean.elapsedMs,
        faultMs: faulty.elapsedMs,
        outcomes: faulty.outcomes,
        requestsPerItem: faulty.requestsPerItem,
      };
      runs.push(run);
      options.say(`fault ${kind.name} ${index + 1}/${options.repetitions}: ${JSON.stringify(run)}`);
    }
    return runs;
  });
}

async function runJob(options: BenchOptions, stack: Stack, salt: string, kind: Kind) {
  const input = await writeInput({
    file: inputFile(options, 'fault.jsonl'),
    items: ITEMS,
    salt,
    ...(kind.poisonEvery === undefined ? {} : { poisonEvery: kind.poisonEvery }),
  });
  const client = new BatchClient(stack.serverUrl);
  const { received: before } = await stack.engine.stats();
  const startedAt = performance.now();
  const { id } = await client.create(await client.upload(input.file));
  const batch = await client.waitForEnd(id);
  const files = await client.fetchResults(batch, join(stack.folder, 'fault'));
  const elapsedMs = performance.now() - startedAt;
  await client.close();
  const { received } = await stack.engine.stats();
  return {
    elapsedMs,
    outcomes: await readOutcomes(files, ITEMS),
    requestsPerItem: (received - before) / ITEMS,
  };
}
