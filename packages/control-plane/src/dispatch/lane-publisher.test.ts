import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { LaneProblem, OfferPublisher } from '@batch-infer/transport';
import { beforeEach, expect, it } from 'vitest';
import { Metrics } from '../telemetry/metrics.js';
import { LanePublisher } from './lane-publisher.js';

const offerOf = (model: string): Offer => ({
  shard_id: `shard-of-${model}`,
  epoch: 0,
  lane: `normal/${model}`,
  model,
  priority: 'normal',
  items: 1,
  job_id: 'job_1',
  offered_at_ms: 0,
});

let arrived: string[];
let takenBack: string[];
let problems: LaneProblem[];
let metrics: Metrics;
let slow: PromiseWithResolvers<void>;
let lanes: LanePublisher;

const transport: OfferPublisher = {
  publish: async ({ offers }) => {
    for (const { model } of offers) {
      if (model === 'bad') throw new Error('its topic cannot be made');
      if (model === 'slow') await slow.promise;
      arrived.push(model);
    }
  },
  lanes: {
    idleMs: null,
    prepare: async () => {},
    remove: async () => {},
    problems: () => problems,
  },
  health: () => ({ state: 'up', reason: null }),
  close: async () => {},
};

beforeEach(() => {
  arrived = [];
  takenBack = [];
  problems = [];
  metrics = new Metrics();
  slow = Promise.withResolvers();
  lanes = new LanePublisher({
    publisher: transport,
    metrics,
    takeBack: async (offers) => {
      takenBack.push(...offers.map(({ model }) => model));
    },
    patienceMs: 5,
  });
});

it('a lane that fails has its own offers taken back, and no others', async () => {
  await lanes.publish(['good', 'bad', 'fine'].map(offerOf));
  expect(arrived).toEqual(['good', 'fine']);
  expect(takenBack).toEqual(['bad']);
  expect(await metrics.text()).toContain('batch_infer_transport_lane_failures_total 1');
  expect(await metrics.text()).toContain('batch_infer_offers_published_total 2');
});

it('a lane that is slow is not waited for, and gets nothing more until its offers have arrived', async () => {
  await lanes.publish(['slow', 'good'].map(offerOf));
  expect(arrived).toEqual(['good']);
  expect(lanes.closed()).toEqual(new Set(['normal/slow']));
  slow.resolve();
  await expect.poll(() => lanes.closed().size).toBe(0);
  expect(arrived).toEqual(['good', 'slow']);
});

it('a lane that failed a moment ago is left alone until it is worth another try', () => {
  const problem = { lane: 'normal/bad', model: 'bad', reason: 'away', sinceMs: 0 };
  problems = [{ ...problem, waits: true }];
  expect(lanes.closed()).toEqual(new Set(['normal/bad']));
  problems = [{ ...problem, waits: false }];
  expect(lanes.closed()).toEqual(new Set());
});
