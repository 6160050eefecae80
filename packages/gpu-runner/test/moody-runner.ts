import { decodeSegment, emptyMask, maskToBase64, type SegmentHeader } from '@batch-infer/contracts';
import type { Lease, RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { Engine } from '../src/engine/engine.js';
import { Dispatcher } from '../src/loop/dispatcher.js';
import { NO_HISTORY } from '../src/loop/retry.js';
import { Settler } from '../src/loop/settler.js';
import { OutageWaits } from '../src/server/outage-waits.js';
import { RunnerStats } from '../src/stats.js';
import { ShardRun } from '../src/work/shard-run.js';
import { silentLogger } from './fixtures.js';
import { ManualClock } from './manual-clock.js';
import { MoodyEngine, type MoodyEngineOptions } from './moody-engine.js';

export const MODEL = 'sim-model';
const PATH = '/v1/chat/completions';
const STEP_MS = 250;

export interface MoodyRun {
  readonly random: () => number;
  /** Texts of the items. */
  readonly items: readonly string[];
  readonly engines: readonly Omit<MoodyEngineOptions, 'clock' | 'random' | 'model'>[];
  readonly limitMs: number;
  /** Items that come later than the others, so that the job has a long tail. */
  readonly arriveAtMs: (index: number) => number;
}

export interface MoodyCourse {
  /** Outcome and end of each item, in milliseconds. */
  readonly outcomes: readonly ({ readonly header: SegmentHeader; readonly atMs: number } | undefined)[];
  /** How often each item reached an engine. */
  readonly sends: readonly number[];
  /** Reports in which an engine took nothing and said no reason. */
  readonly silentPauses: readonly RunnerReport['engines'][number][];
}

/** The runner's engines, dispatcher and judgement on virtual time; control plane and HTTP are left out. */
export async function runMoody(scenario: MoodyRun): Promise<MoodyCourse> {
  const { random, items } = scenario;
  const clock = new ManualClock();
  const outcomes: { header: SegmentHeader; atMs: number }[] = [];
  const simulated = scenario.engines.map((one) => new MoodyEngine({ ...one, clock, random, model: MODEL }));
  const engines: Engine[] = simulated.map(
    (connection, index) =>
      new Engine({
        ...{ id: `engine-${index}`, url: `http://engine-${index}`, apiKey: null, clock, random },
        ...{ logger: silentLogger, healthPath: '/health', connection },
        limits: { window: 8, maxSequences: null, reserve: 0 },
        elsewhere: (model) => engines.some((other, at) => at !== index && other.capacityFor(model) > 0),
        listModels: async () => connection.models,
        onModels: () => {},
        onFailing: (engine) => dispatcher.forgive(engine),
        onChange: () => dispatcher.fill(),
      }),
  );
  const dispatcher = new Dispatcher({
    ...{ engines, clock, random, stats: new RunnerStats(), itemsPerSecond: () => 0, onProgress: () => {} },
    unsettledBytes: () => 0,
  });
  for (const engine of engines) void engine.connect({ models: [MODEL], llamaCpp: false });
  const settler = new Settler({
    settle: async (segment) => {
      let accepted = 0;
      for (const { header } of decodeSegment(Buffer.from(segment))) {
        outcomes[header.i] = { header, atMs: clock.nowMs() };
        accepted += 1;
      }
      return { accepted, repeated: 0, shard_done: false, stop: false };
    },
    ...{
      clock,
      waits: new OutageWaits(clock),
      random,
      onSettled: () => {},
      onRefused: () => {},
      onRoom: () => {},
    },
    ...{ onDropped: () => {}, onTrouble: () => {} },
  });
  const run = new ShardRun(leaseOf(items.length), settler, clock.nowMs());
  const bodies = items.map((content) =>
    JSON.stringify({ model: MODEL, messages: [{ role: 'user', content }] }),
  );
  for (const [index, body] of bodies.entries()) {
    clock.after(scenario.arriveAtMs(index), () => {
      const item = {
        ...{
          run,
          index,
          customId: String(index),
          path: PATH,
          body: Buffer.from(body),
          tokens: 1,
          prefixKey: 0,
        },
        ...{
          history: NO_HISTORY,
          raced: false,
          doubts: 0,
          answersAtFailure: null,
          call: null,
          cancelDelay: null,
        },
      };
      run.items.add(item);
      dispatcher.enqueue(item);
      dispatcher.fill();
    });
  }
  const silentPauses: RunnerReport['engines'][number][] = [];
  while (run.undecided > 0 && clock.nowMs() < scenario.limitMs) {
    await clock.advance(STEP_MS);
    for (const engine of engines) {
      const { report } = engine;
      const paused = !report.healthy || (engine.serves(MODEL) && engine.capacityFor(MODEL) === 0);
      if (paused && report.problem === null) silentPauses.push(report);
    }
  }
  await clock.advance(2_000);
  await Promise.all(engines.map((engine) => engine.close()));
  const sends = bodies.map((body) =>
    simulated.reduce((sum, { received }) => sum + (received.get(body) ?? 0), 0),
  );
  return { outcomes: items.map((_, index) => outcomes[index]), sends, silentPauses };
}

const leaseOf = (count: number): Lease => ({
  ...{ shard_id: 'shard', epoch: 1, job_id: 'job', model: MODEL, priority: 'normal', lease_ms: 1e9 },
  ...{
    remaining_ms: 1e9,
    first_index: 0,
    count,
    skip: 0,
    done_mask: maskToBase64(emptyMask()),
    lost_leases: 0,
  },
  ...{
    bytes: 0,
    endpoint: PATH,
    default_model: null,
    defaults: null,
    item_timeout_ms: 60_000,
    max_attempts: 3,
  },
});
