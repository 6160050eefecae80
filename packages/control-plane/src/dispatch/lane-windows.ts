import { laneName, type RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { LaneLoad } from '../ports/ledger.js';

/** Offers of a lane that stand however small the windows are: the next one finds work at once. */
export const LANE_WINDOW_MIN = 8;
/** Offers of a lane that may stand unclaimed at a time, whatever runners report. */
export const LANE_WINDOW_MAX = 1_024;
/** One window full at the engines and one on its way. */
const WINDOWS_AHEAD = 2;

/**
 * How many more offers each lane may have outstanding, for transports that push (I8): about twice the shards that the
 * windows of the engines which serve its model can hold. The length of the backlog plays no part, only the size of its
 * shards does.
 */
export function laneRooms(
  backlog: readonly LaneLoad[],
  runners: readonly RunnerReport[],
): ReadonlyMap<string, number> {
  const windows = modelWindows(runners);
  return new Map(
    backlog.map((lane) => {
      const itemsOfShard = lane.readyShards === 0 ? 1 : Math.max(1, lane.readyItems / lane.readyShards);
      const shards = (windows.get(lane.model) ?? []).reduce(
        (sum, window) => sum + Math.ceil(window / itemsOfShard),
        0,
      );
      const bound = Math.min(Math.max(LANE_WINDOW_MIN, WINDOWS_AHEAD * shards), LANE_WINDOW_MAX);
      return [laneName(lane.priority, lane.model), bound - lane.offeredShards];
    }),
  );
}

/** Windows, in items, of the engines that serve each model. */
function modelWindows(runners: readonly RunnerReport[]): Map<string, number[]> {
  const windows = new Map<string, number[]>();
  for (const engine of runners.flatMap(({ engines }) => engines)) {
    if (!engine.healthy) continue;
    for (const model of engine.models) {
      windows.set(model, [...(windows.get(model) ?? []), Math.max(1, engine.window)]);
    }
  }
  return windows;
}

/** The sum of what all lanes have room for. */
export const totalRoom = (rooms: readonly number[]): number =>
  rooms.reduce((sum, room) => sum + Math.max(0, room), 0);
