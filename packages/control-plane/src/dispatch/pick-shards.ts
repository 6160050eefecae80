import { LIMITS, PRIORITIES, type Priority } from '@batch-infer/contracts';
import { laneName } from '@batch-infer/contracts/runner-protocol';
import type { OfferQueue } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';

export interface OfferBounds {
  readonly limit: number;
  /** How many more shards of a lane may be outstanding. */
  readonly room: (lane: string) => number;
  /** False where `room` has counted first offers that nobody claimed. */
  readonly offeredAgainNeedsRoom: boolean;
}

interface Turn {
  readonly queue: OfferQueue;
  /** Shards the job holds, those picked now among them. */
  held: number;
  next: number;
}

/**
 * Whose turn it is. Strictly by priority; inside a priority the project that holds the fewest shards goes first, inside
 * a project the job that holds the fewest, then the older one. What is held now stands in the ledger, so that nothing has
 * to be remembered from call to call, and a job of one shard never waits behind a job of thousands.
 *
 * This is the seam for weights and token costs (deficit round robin): only `before` decides.
 *
 * `room` bounds a lane (I8): how many more of its shards may be outstanding. A shard that is offered again needs none
 * where `room` has counted its first offer already.
 */
export function pickShards(queues: readonly OfferQueue[], bounds: OfferBounds): ShardRecord[] {
  const lanes = new LaneRooms(bounds, queues[0]?.suspectsHeld ?? 0);
  const picked: ShardRecord[] = [];
  for (const priority of PRIORITIES) {
    const turns = turnsOf(queues, priority);
    const heldByProject = new Map<string, number>();
    const hold = (projectId: string, shards: number) =>
      heldByProject.set(projectId, (heldByProject.get(projectId) ?? 0) + shards);
    for (const { queue, held } of turns) hold(queue.projectId, held);
    while (picked.length < bounds.limit) {
      const turn = nextTurn(turns, lanes, heldByProject);
      const shard = turn?.queue.shards[turn.next];
      if (!turn || !shard) break;
      turn.next += 1;
      turn.held += 1;
      hold(shard.projectId, 1);
      lanes.take(shard);
      picked.push(shard);
    }
  }
  return picked;
}

const isSuspect = (shard: ShardRecord): boolean => shard.lostLeases >= LIMITS.lostLeasesBeforeBisection;

/** How full the lanes get while shards are picked. */
class LaneRooms {
  readonly #bounds: OfferBounds;
  readonly #taken = new Map<string, number>();
  #suspects: number;

  constructor(bounds: OfferBounds, suspectsHeld: number) {
    this.#bounds = bounds;
    this.#suspects = suspectsHeld;
  }

  mayTake(shard: ShardRecord): boolean {
    if (isSuspect(shard) && this.#suspects > 0) return false;
    if (!this.#needsRoom(shard)) return true;
    const lane = laneName(shard.priority, shard.model);
    return (this.#taken.get(lane) ?? 0) < this.#bounds.room(lane);
  }

  take(shard: ShardRecord): void {
    if (isSuspect(shard)) this.#suspects += 1;
    if (!this.#needsRoom(shard)) return;
    const lane = laneName(shard.priority, shard.model);
    this.#taken.set(lane, (this.#taken.get(lane) ?? 0) + 1);
  }

  #needsRoom(shard: ShardRecord): boolean {
    return shard.offeredAtMs === null || this.#bounds.offeredAgainNeedsRoom;
  }
}

function nextTurn(
  turns: readonly Turn[],
  lanes: LaneRooms,
  heldByProject: ReadonlyMap<string, number>,
): Turn | null {
  let best: Turn | null = null;
  for (const turn of turns) {
    skipFullLanes(turn, lanes);
    if (turn.next >= turn.queue.shards.length) continue;
    if (!best || before(turn, best, heldByProject)) best = turn;
  }
  return best;
}

const turnsOf = (queues: readonly OfferQueue[], priority: Priority): Turn[] =>
  queues
    .filter((queue) => queue.priority === priority)
    .map((queue) => ({ queue, held: queue.held, next: 0 }));

/** A job may have shards of several models: one whose lane is full does not hold up the others. */
function skipFullLanes(turn: Turn, lanes: LaneRooms): void {
  for (
    let shard = turn.queue.shards[turn.next];
    shard && !lanes.mayTake(shard);
    shard = turn.queue.shards[turn.next]
  ) {
    turn.next += 1;
  }
}

function before(left: Turn, right: Turn, heldByProject: ReadonlyMap<string, number>): boolean {
  const projectDifference =
    (heldByProject.get(left.queue.projectId) ?? 0) - (heldByProject.get(right.queue.projectId) ?? 0);
  if (left.queue.projectId !== right.queue.projectId && projectDifference !== 0) return projectDifference < 0;
  if (left.held !== right.held) return left.held < right.held;
  if (left.queue.createdAtMs !== right.queue.createdAtMs)
    return left.queue.createdAtMs < right.queue.createdAtMs;
  return left.queue.jobId < right.queue.jobId;
}
