import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BatchClient } from '../clients/batch-client.ts';
import { NativeClient } from '../clients/native-client.ts';
import type { Stack } from '../harness/stack.ts';
import { type Measurement, startStack, withStack } from '../measurement.ts';
import { quantile, seededRandom } from '../stats.ts';
import { chatBody } from '../workload.ts';

const SERVICE_MS = 50;
const JOBS = 30;
const MORE_JOBS = 10;

/** Milliseconds of one small job. Times at the engine are whole milliseconds: figures are good to ±1 ms. */
interface SmallJob {
  readonly submit: number;
  /** Below zero when the engine was asked before the reply was read. */
  readonly replyToEngine: number;
  readonly submitToReadable: number;
  readonly lastAnswerToTerminal: number;
}

interface SubmittedJob {
  readonly repliedAt: number;
  readonly endedAt: number;
  readonly readableAt: number;
}

/** Runs one job; `marker` stands in its first user text. */
type RunJob = (stack: Stack, marker: string) => Promise<SubmittedJob>;

/** How long a small job waits for anything but the engine. The stack is idle before each one. */
export const latency: Measurement = {
  title: 'Small jobs: create → engine → readable',
  async run(options) {
    const kinds: readonly [string, number, RunJob][] = [
      ['1 item, native, long poll', JOBS, (stack, marker) => runNative(stack, marker, 1)],
      ['1 item, OpenAI batch, poll 50 ms', JOBS, runBatch],
      ['100 items, native, long poll', MORE_JOBS, (stack, marker) => runNative(stack, marker, 100)],
    ];
    return await withStack(
      startStack(options, { serviceMs: SERVICE_MS, requestLog: true }),
      async (stack) => {
        const data: Record<string, SmallJob[]> = {};
        for (const [name, jobs, run] of kinds) {
          data[name] = await measure(stack, name, jobs, run);
          options.say(`latency ${name}: done`);
        }
        const columns = [
          'submit',
          'create reply → first request',
          'submit → readable',
          'last answer → terminal seen',
        ];
        return {
          data,
          tables: [
            {
              caption: `Jobs one after another on an idle stack, engine 64 slots × ${SERVICE_MS} ms; p50 / p99 in ms (p99 of so few is the largest). Submit is create alone for the native API, upload + create for OpenAI's.`,
              columns: ['job', 'jobs', ...columns],
              rows: Object.entries(data).map(([name, jobs]) => [
                name,
                String(jobs.length),
                show(jobs.map(({ submit }) => submit)),
                `**${show(jobs.map(({ replyToEngine }) => replyToEngine))}**`,
                show(jobs.map(({ submitToReadable }) => submitToReadable)),
                show(jobs.map(({ lastAnswerToTerminal }) => lastAnswerToTerminal)),
              ]),
            },
          ],
        };
      },
    );
  },
};

const show = (values: readonly number[]): string =>
  `${quantile(values, 0.5).toFixed(0)} / ${quantile(values, 0.99).toFixed(0)}`;

async function measure(stack: Stack, name: string, jobs: number, run: RunJob): Promise<SmallJob[]> {
  const random = seededRandom(1);
  await run(stack, `warm-up ${name}`);
  const measured: SmallJob[] = [];
  for (let index = 0; index < jobs; index += 1) {
    // Out of step with every timer of the stack.
    await delay(50 + 400 * random());
    const marker = `job ${index} of ${name}`.slice(0, 40);
    const startedAt = now();
    const { repliedAt, endedAt, readableAt } = await run(stack, marker);
    const [requests, stats] = await Promise.all([stack.engine.requests(), stack.engine.stats()]);

    const arrivals = requests.filter((request) => request.marker.startsWith(marker));
    if (arrivals.length === 0 || stats.idleSince === null)
      throw new Error(`the engine never saw "${marker}"`);
    measured.push({
      submit: repliedAt - startedAt,
      replyToEngine: Math.min(...arrivals.map(({ firstReceivedAt }) => firstReceivedAt)) - repliedAt,
      submitToReadable: readableAt - startedAt,
      lastAnswerToTerminal: endedAt - stats.idleSince,
    });
  }
  return measured;
}

/** Epoch milliseconds with fractions, as the engine's clock on the same machine. */
const now = (): number => performance.timeOrigin + performance.now();

async function runNative(stack: Stack, marker: string, items: number): Promise<SubmittedJob> {
  const client = new NativeClient(stack.serverUrl);
  const bodies = Array.from({ length: items }, (_, index) => ({ body: chatBody(`${marker} item ${index}`) }));
  const { id } = await client.submit(items === 1 ? { input: chatBody(marker) } : { items: bodies });
  const repliedAt = now();
  await client.waitForEnd(id);
  const endedAt = now();
  await client.fetchResults(id, join(stack.folder, 'small.jsonl'));
  const readableAt = now();
  await client.close();
  return { repliedAt, endedAt, readableAt };
}

async function runBatch(stack: Stack, marker: string): Promise<SubmittedJob> {
  const client = new BatchClient(stack.serverUrl);
  const file = join(stack.folder, 'small-input.jsonl');
  writeFileSync(
    file,
    `${JSON.stringify({ custom_id: 'one', method: 'POST', url: '/v1/chat/completions', body: chatBody(marker) })}\n`,
  );
  const { id } = await client.create(await client.upload(file));
  const repliedAt = now();
  const batch = await client.waitForEnd(id);
  const endedAt = now();
  await client.fetchResults(batch, join(stack.folder, 'small'));
  const readableAt = now();
  await client.close();
  return { repliedAt, endedAt, readableAt };
}
