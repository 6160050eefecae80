import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SimRequestRecord } from '@batch-infer/testkit';
import { BatchClient } from '../clients/batch-client.ts';
import type { Stack } from '../harness/stack.ts';
import { engineCompleted } from '../harness/wait.ts';
import { type BenchOptions, inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { type Outcomes, readOutcomes } from '../outcomes.ts';
import { showEstimate } from '../report.ts';
import { type Input, writeInput } from '../workload.ts';

const ITEMS = 3_000;
const SERVICE_MS = 50;
const KILL_AT = 0.4;
const DOWN_MS = 1_000;

type Victim = 'runner' | 'control plane';

interface CrashRun {
  readonly outcomes: Outcomes;
  /** Milliseconds from the kill to the first request at the engine after the victim was started again. */
  readonly resumeMs: number;
  /** Milliseconds from the kill to the end of the job as the client saw it. */
  readonly doneMs: number;
  /** Items that the engine answered more than once. */
  readonly ranTwice: number;
  /** Requests cut off in flight. */
  readonly cutOff: number;
}

/** kill -9 in the middle of a job, and the same part started again a second later. */
export const crash: Measurement = {
  title: 'kill -9 in the middle of a job',
  async run(options) {
    const input = await writeInput({ file: inputFile(options, 'crash.jsonl'), items: ITEMS, salt: 'crash' });
    const data: Record<string, CrashRun[]> = {};
    for (const victim of ['runner', 'control plane'] as const) {
      const runs: CrashRun[] = [];
      for (let index = 0; index < options.repetitions; index += 1) {
        const run = await crashOnce(options, input, victim);
        runs.push(run);
        options.say(`crash ${victim} ${index + 1}/${options.repetitions}: ${JSON.stringify(run)}`);
      }
      data[victim] = runs;
    }
    return {
      data,
      tables: [
        {
          caption: `${ITEMS.toLocaleString('en')} items, engine 64 slots × ${SERVICE_MS} ms, killed at ${KILL_AT * 100} %, started again after ${DOWN_MS / 1_000} s; ${options.repetitions} runs each, default leases. Times from the kill, median (95 % interval); counts are sums over all runs.`,
          columns: [
            'killed',
            'first new request s',
            'job ended s',
            'items lost',
            'doubled in the output',
            'failed',
            'answered twice by the engine',
            'cut off in flight',
          ],
          rows: Object.entries(data).map(([victim, runs]) => toRow(victim, runs)),
        },
      ],
    };
  },
};

async function crashOnce(options: BenchOptions, input: Input, victim: Victim): Promise<CrashRun> {
  return await withStack(startStack(options, { serviceMs: SERVICE_MS, requestLog: true }), async (stack) => {
    const client = new BatchClient(stack.serverUrl);
    const { id } = await client.create(await client.upload(input.file));
    await engineCompleted(stack.engine, ITEMS * KILL_AT);
    const killedAt = Date.now();
    const ended = client.waitForEnd(id);
    await kill(stack, victim);
    await delay(DOWN_MS);
    const restartedAt = Date.now();
    if (victim === 'runner') await stack.startRunner();
    else await stack.startControlPlane();
    const batch = await ended;
    const doneMs = Date.now() - killedAt;
    const files = await client.fetchResults(batch, join(stack.folder, 'crash'));
    await client.close();
    const [requests, stats] = await Promise.all([stack.engine.requests(), stack.engine.stats()]);
    return {
      outcomes: await readOutcomes(files, ITEMS),
      resumeMs: firstArrivalAfter(requests, restartedAt) - killedAt,
      doneMs,
      ranTwice: requests.filter(({ completed }) => completed > 1).length,
      cutOff: stats.aborted,
    };
  });
}

async function kill(stack: Stack, victim: Victim): Promise<void> {
  if (victim === 'runner') await stack.killRunner();
  else await stack.killControlPlane();
}

function firstArrivalAfter(requests: readonly SimRequestRecord[], time: number): number {
  const arrivals = requests.flatMap(({ firstReceivedAt, lastReceivedAt }) => [
    firstReceivedAt,
    lastReceivedAt,
  ]);
  return Math.min(...arrivals.filter((arrival) => arrival >= time));
}

function toRow(victim: string, runs: readonly CrashRun[]): string[] {
  const sum = (value: (run: CrashRun) => number) =>
    String(runs.reduce((total, run) => total + value(run), 0));
  return [
    victim,
    showEstimate(runs.map(({ resumeMs }) => resumeMs / 1_000)),
    showEstimate(runs.map(({ doneMs }) => doneMs / 1_000)),
    sum(({ outcomes }) => outcomes.lost),
    sum(({ outcomes }) => outcomes.doubled),
    sum(({ outcomes }) => outcomes.lines - outcomes.succeeded),
    sum(({ ranTwice }) => ranTwice),
    sum(({ cutOff }) => cutOff),
  ];
}
