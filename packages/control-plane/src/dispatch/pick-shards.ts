import { countBits, LIMITS, PRIORITIES, type Priority } from '@batch-infer/contracts';
import { laneName } from '@batch-infer/contracts/runner-protocol';
import type { OfferQueue } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import type { Charge, ChargeContext, FairShare } from './fair-share.js';

export interface OfferBounds {
  readonly limit: number;
  /** How many more shards of a lane may be outstanding (I8). */
  readonly room: (lane: string) => number;
  /** False where `room` has counted first offers that nobody claimed. */
  readonly offeredAgainNeedsRoom: boolean;
  /**
   * Where runners read the lane of a higher class first (Kafka): offers of a lower class are kept back while a higher one
   * has work for the same model, and what the lower class is owed travels in the higher lane. In its own it would not be
   * read.
   */
  readonly oneLaneAtATime: boolean;
  /** Shards that are on their project's account already, because an earlier offer of them did not arrive. */
  readonly isPaid: (shardId: string) => boolean;
}

/** A shard to offer now. */
export interface OfferChoice {
  readonly shard: ShardRecord;
  /** Class of the lane it travels in. */
  readonly lanePriority: Priority;
  /** What it does to the accounts; `null` when it is paid for already. */
  readonly entry: { readonly charge: Charge; readonly context: ChargeContext } | null;
}

/**
 * Whose turn it is. Strictly by priority class, but for the small share that lower classes are owed; inside a class the
 * project that is furthest behind its share of tokens, as long as it is below its cap; inside a project the job with the
 * earliest deadline, then the oldest; inside a job by ordinal.
 *
 * Pure: `share` is read, and the returned entries say how it changes when the shards really go.
 */
export function pickShards(
  queues: readonly OfferQueue[],
  bounds: OfferBounds,
  share: FairShare,
): OfferChoice[] {
  const picker = new Picker(queues, bounds, share.fork());
  const choices: OfferChoice[] = [];
  while (choices.length < bounds.limit) {
    const choice = picker.next();
    if (choice === null) break;
    choices.push(choice);
  }
  return choices;
}

const BYTES_PER_TOKEN = 4;

const openItemsOf = (shard: Pick<ShardRecord, 'count' | 'doneMask'>): number =>
  Math.max(1, shard.count - countBits(shard.doneMask));

/** Tokens that a shard will take: its input by its bytes, its output by what items of its job are expected to have. */
export function tokenCost(shard: ShardRecord, expectedOutputTokens: number): number {
  const open = openItemsOf(shard);
  // A part of a bisected shard names the byte range of the whole.
  const inputTokens = (shard.bytes / BYTES_PER_TOKEN) * (open / (shard.count + shard.skip));
  return Math.max(1, inputTokens + open * expectedOutputTokens);
}

const isSuspect = (shard: ShardRecord): boolean => shard.lostLeases >= LIMITS.lostLeasesBeforeBisection;

/** The shards of one job in one lane. */
interface Turn {
  readonly queue: OfferQueue;
  readonly model: string;
  readonly lane: string;
  readonly shards: readonly ShardRecord[];
  next: number;
}

interface Candidate {
  readonly turn: Turn;
  readonly shard: ShardRecord;
  readonly cost: number;
}

/** The turns of one priority class, by project, those with the earliest deadline first. */
type ClassTurns = ReadonlyMap<string, readonly Turn[]>;

/** Makes one choice after the other, and keeps the books of what they use up. */
class Picker {
  readonly #bounds: OfferBounds;
  readonly #share: FairShare;
  readonly #classes: ReadonlyMap<Priority, ClassTurns>;
  readonly #takenOfLane = new Map<string, number>();
  readonly #heldItems = new Map<string, number>();
  #suspects: number;

  constructor(queues: readonly OfferQueue[], bounds: OfferBounds, share: FairShare) {
    this.#bounds = bounds;
    this.#share = share;
    this.#suspects = queues[0]?.suspectsHeld ?? 0;
    this.#classes = new Map(PRIORITIES.map((priority) => [priority, turnsOf(queues, priority)]));
    for (const { projectId, project } of queues) this.#heldItems.set(projectId, project.heldItems);
  }

  next(): OfferChoice | null {
    const busy = this.#busyModels();
    const waiting = new Map<Priority, number>();
    let strict: Candidate | null = null;
    let owed: Candidate | null = null;
    for (const priority of PRIORITIES) {
      const any = this.#best(priority, () => true);
      if (any === null) continue;
      waiting.set(priority, any.cost);
      strict ??= this.#best(priority, ({ model }) => this.#keptBackBy(priority, model, busy) === null);
      const isFirst = waiting.size === 1 && strict === any;
      if (owed === null && !isFirst && this.#share.isOwed(priority, any.cost)) owed = any;
    }
    const candidate = owed ?? strict;
    return candidate === null ? null : this.#take(candidate, { waiting, owed: owed !== null }, busy);
  }

  #take(
    { turn, shard, cost }: Candidate,
    context: ChargeContext,
    busy: ReadonlyMap<Priority, ReadonlySet<string>>,
  ): OfferChoice {
    const { queue, lane } = turn;
    turn.next = turn.shards.indexOf(shard) + 1;
    if (isSuspect(shard)) this.#suspects += 1;
    if (this.#needsRoom(shard)) this.#takenOfLane.set(lane, (this.#takenOfLane.get(lane) ?? 0) + 1);
    this.#heldItems.set(queue.projectId, this.#heldOf(queue) + openItemsOf(shard));
    const charge = {
      priority: queue.priority,
      projectId: queue.projectId,
      cost,
      weight: queue.project.weight,
    };
    const isPaid = shard.offeredAtMs !== null || this.#bounds.isPaid(shard.id);
    if (!isPaid) this.#share.charge(charge, context);
    return {
      shard,
      lanePriority: this.#keptBackBy(queue.priority, turn.model, busy) ?? queue.priority,
      entry: isPaid ? null : { charge, context },
    };
  }

  /** The project furthest behind that may go, with its first shard that may. */
  #best(priority: Priority, accept: (turn: Turn) => boolean): Candidate | null {
    let best: Candidate | null = null;
    for (const turns of this.#classes.get(priority)?.values() ?? []) {
      const candidate = this.#firstOf(turns, accept);
      if (candidate !== null && (best === null || this.#isBefore(candidate, best))) best = candidate;
    }
    return best;
  }

  #firstOf(turns: readonly Turn[], accept: (turn: Turn) => boolean): Candidate | null {
    for (const turn of turns) {
      const shard = this.#headOf(turn);
      if (shard === null || !this.#hasRoom(turn.lane, shard) || !accept(turn)) continue;
      return { turn, shard, cost: tokenCost(shard, turn.queue.expectedOutputTokens) };
    }
    return null;
  }

  /** The next shard of a turn, `null` when nothing of it may go whatever the room. */
  #headOf(turn: Turn): ShardRecord | null {
    for (let at = turn.next; at < turn.shards.length; at += 1) {
      const shard = turn.shards[at];
      if (shard === undefined) return null;
      // I10: suspects go one at a time, and everything else past them.
      if (isSuspect(shard) && this.#suspects > 0) continue;
      return this.#isBelowCap(turn.queue, shard) ? shard : null;
    }
    return null;
  }

  #isBefore(left: Candidate, right: Candidate): boolean {
    const leftQueue = left.turn.queue;
    const rightQueue = right.turn.queue;
    const behind =
      this.#share.accountOf(leftQueue.priority, leftQueue.projectId) -
      this.#share.accountOf(rightQueue.priority, rightQueue.projectId);
    return behind === 0 ? byDeadline(leftQueue, rightQueue) < 0 : behind < 0;
  }

  /** A project that holds nothing may always hold one shard, however small its cap. */
  #isBelowCap(queue: OfferQueue, shard: ShardRecord): boolean {
    const { maxRunningItems } = queue.project;
    const held = this.#heldOf(queue);
    return maxRunningItems === null || held === 0 || held + openItemsOf(shard) <= maxRunningItems;
  }

  #heldOf(queue: OfferQueue): number {
    return this.#heldItems.get(queue.projectId) ?? 0;
  }

  #needsRoom(shard: ShardRecord): boolean {
    return shard.offeredAtMs === null || this.#bounds.offeredAgainNeedsRoom;
  }

  #hasRoom(lane: string, shard: ShardRecord): boolean {
    return !this.#needsRoom(shard) || (this.#takenOfLane.get(lane) ?? 0) < this.#bounds.room(lane);
  }

  /** Models for which each class has work, whether or not its lane has room. */
  #busyModels(): ReadonlyMap<Priority, ReadonlySet<string>> {
    const busy = new Map<Priority, Set<string>>();
    if (!this.#bounds.oneLaneAtATime) return busy;
    for (const [priority, projects] of this.#classes) {
      const models = new Set<string>();
      for (const turns of projects.values()) {
        for (const turn of turns) if (!models.has(turn.model) && this.#headOf(turn)) models.add(turn.model);
      }
      busy.set(priority, models);
    }
    return busy;
  }

  /** The higher class for whose sake this one's lane would not be read now. */
  #keptBackBy(
    priority: Priority,
    model: string,
    busy: ReadonlyMap<Priority, ReadonlySet<string>>,
  ): Priority | null {
    const higher = PRIORITIES.slice(0, PRIORITIES.indexOf(priority));
    return higher.find((each) => busy.get(each)?.has(model)) ?? null;
  }
}

function turnsOf(queues: readonly OfferQueue[], priority: Priority): ClassTurns {
  const turns = queues
    .filter((queue) => queue.priority === priority)
    .sort(byDeadline)
    .flatMap((queue): Turn[] =>
      [...Map.groupBy(queue.shards, ({ model }) => model)].map(([model, shards]) => ({
        queue,
        model,
        lane: laneName(priority, model),
        shards,
        next: 0,
      })),
    );
  return Map.groupBy(turns, ({ queue }) => queue.projectId);
}

function byDeadline(left: OfferQueue, right: OfferQueue): number {
  return (
    left.expiresAtMs - right.expiresAtMs ||
    left.createdAtMs - right.createdAtMs ||
    (left.jobId < right.jobId ? -1 : left.jobId > right.jobId ? 1 : 0)
  );
}
