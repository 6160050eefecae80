import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { expect, it } from 'vitest';
import type { LaneLoad } from '../ports/ledger.js';
import { reportOf } from '../use-cases-fixture.js';
import { LANE_WINDOW_MAX, laneRooms } from './lane-windows.js';

const lane = (fields: Partial<LaneLoad> = {}): LaneLoad => ({
  model: 'm',
  priority: 'normal',
  readyShards: 100,
  offeredShards: 0,
  readyItems: 25_600,
  ...fields,
});

const runner = (id: string, window: number, fields: { models?: string[]; healthy?: boolean } = {}) => {
  const { models = ['m'], healthy = true } = fields;
  const engine = { id: 'engine-0', models, healthy, window, in_flight: 0, problem: null };
  return { ...reportOf(id, models), engines: [engine] } satisfies RunnerReport;
};

const roomOf = (backlog: LaneLoad, runners: RunnerReport[]) => laneRooms([backlog], runners).get('normal/m');

it('a lane has room for twice the shards that the windows of its engines hold', () => {
  expect(roomOf(lane(), [runner('a', 512), runner('b', 1_024), runner('c', 64)])).toBe(2 * (2 + 4 + 1));
  expect(roomOf(lane({ readyItems: 100 }), [runner('a', 64)])).toBe(128);
});

it('offers that stand already take their room', () => {
  expect(roomOf(lane({ offeredShards: 5 }), [])).toBe(3);
});

it('a lane without engines, or with none that works or serves the model, keeps a few offers', () => {
  for (const runners of [
    [],
    [runner('a', 4_096, { healthy: false })],
    [runner('a', 4_096, { models: ['n'] })],
  ]) {
    expect(roomOf(lane(), runners)).toBe(8);
  }
});

it('I8: the bound does not grow with the backlog, nor beyond its limit', () => {
  const runners = [runner('a', 64)];
  const small = roomOf(lane(), runners);
  expect(roomOf(lane({ readyShards: 1_000, readyItems: 256_000 }), runners)).toBe(small);
  const many = Array.from({ length: 100 }, (_, n) => runner(`r${n}`, 10_000));
  expect(roomOf(lane({ readyItems: 100 }), many)).toBe(LANE_WINDOW_MAX);
});
