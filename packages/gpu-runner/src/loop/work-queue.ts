import { PRIORITIES, type Priority } from '@batch-infer/contracts';
import { JobQueue, QUANTUM_ITEMS, QUANTUM_TOKENS, type Queued } from './job-queue.js';

export interface WorkQueueOptions {
  readonly nowMs: () => number;
  /** How fast items end; 0 when not known. */
  readonly itemsPerSecond: () => number;
}

/** A job whose time is under so many times what it still needs goes first. */
const URGENT_FACTOR = 2;
/** Jobs without waiting items whose service is remembered. */
const IDLE_JOBS = 256;

interface Turn<Item extends Queued> {
  readonly job: JobQueue<Item>;
  items: number;
  tokens: number;
}

interface Lane<Item extends Queued> {
  /** Items to be tried again: they come first, so that their shard can end. */
  retries: Item[];
  readonly jobs: Map<string, JobQueue<Item>>;
  /** The job whose turn it is, by engine. */
  readonly turns: Map<string, Turn<Item>>;
}

/**
 * Items of one model that may be sent now. Higher priorities go first. Jobs of one priority take turns by what they have
 * been served, in tokens: deficit round robin with a quantum of one group. Every item has an engine that it is at home
 * at, by its prefix; an engine without anything of its own takes a whole group from the one with the longest queue.
 */
export class WorkQueue<Item extends Queued> {
  readonly #options: WorkQueueOptions;
  readonly #lanes: Record<Priority, Lane<Item>>;
  #size = 0;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    const lane = (): Lane<Item> => ({ retries: [], jobs: new Map(), turns: new Map() });
    this.#lanes = { high: lane(), normal: lane(), low: lane() };
  }

  get size(): number {
    return this.#size;
  }

  /** @param home Engine that the item should go to. */
  push(item: Item, home: string): void {
    const { lease, jobEndsAtMs } = item.run;
    const { jobs } = this.#lanes[lease.priority];
    let job = jobs.get(lease.job_id);
    if (job === undefined) {
      job = new JobQueue(jobEndsAtMs);
      forgetIdle(jobs);
      jobs.set(lease.job_id, job);
    }
    job.endsAtMs = jobEndsAtMs;
    // A job that comes, or comes back, has no claim to what others were served meanwhile.
    if (job.size === 0) job.served = Math.max(job.served, leastServed(jobs));
    job.push(item, home);
    this.#size += 1;
  }

  pushRetry(item: Item): void {
    this.#lanes[item.run.lease.priority].retries.push(item);
    this.#size += 1;
  }

  /**
   * The next item for an engine; `null` only when nothing is queued.
   * @param freshFirst Prefer items that have not been tried, as when an engine is being tried.
   */
  take(engine: string, freshFirst = false): Item | null {
    if (this.#size === 0) return null;
    for (const priority of PRIORITIES) {
      const lane = this.#lanes[priority];
      const item = freshFirst
        ? (this.#takeFresh(lane, engine) ?? takeRetry(lane))
        : (takeRetry(lane) ?? this.#takeFresh(lane, engine));
      if (item === null) continue;
      this.#size -= 1;
      return item;
    }
    return null;
  }

  /** Takes out all items of a shard. */
  remove(run: Item['run']): void {
    const lane = this.#lanes[run.lease.priority];
    const before = lane.retries.length;
    lane.retries = lane.retries.filter((item) => item.run !== run);
    this.#size -= before - lane.retries.length;
    this.#size -= lane.jobs.get(run.lease.job_id)?.remove(run) ?? 0;
  }

  #takeFresh(lane: Lane<Item>, engine: string): Item | null {
    const turn = this.#turnOf(lane, engine);
    const item = turn?.job.take(engine) ?? null;
    if (turn === null || item === null) return null;
    turn.items += 1;
    turn.tokens += item.tokens;
    turn.job.served += item.tokens;
    return item;
  }

  #turnOf(lane: Lane<Item>, engine: string): Turn<Item> | null {
    const turn = lane.turns.get(engine);
    const goesOn =
      turn !== undefined &&
      turn.items < QUANTUM_ITEMS &&
      turn.tokens < QUANTUM_TOKENS &&
      turn.job.tokensAt(engine) > 0;
    if (goesOn) return turn;
    const job = this.#next(lane, engine) ?? (steal(lane, engine) ? this.#next(lane, engine) : null);
    if (job === null) return null;
    const fresh = { job, items: 0, tokens: 0 };
    lane.turns.set(engine, fresh);
    return fresh;
  }

  /** The most urgent job with items at home at the engine, else the one that was served least. */
  #next(lane: Lane<Item>, engine: string): JobQueue<Item> | null {
    let least: JobQueue<Item> | null = null;
    let urgent: JobQueue<Item> | null = null;
    for (const job of lane.jobs.values()) {
      if (job.tokensAt(engine) === 0) continue;
      if (least === null || job.served < least.served) least = job;
      if (this.#isUrgent(job) && (urgent === null || job.endsAtMs < urgent.endsAtMs)) urgent = job;
    }
    return urgent ?? least;
  }

  #isUrgent(job: JobQueue<Item>): boolean {
    const rate = this.#options.itemsPerSecond();
    if (rate <= 0) return false;
    const neededMs = (job.size / rate) * 1_000;
    return job.endsAtMs - this.#options.nowMs() < URGENT_FACTOR * neededMs;
  }
}

const takeRetry = <Item extends Queued>(lane: Lane<Item>): Item | null => lane.retries.shift() ?? null;

function leastServed(jobs: ReadonlyMap<string, JobQueue<Queued>>): number {
  let least = Number.POSITIVE_INFINITY;
  for (const job of jobs.values()) if (job.size > 0) least = Math.min(least, job.served);
  return Number.isFinite(least) ? least : 0;
}

function forgetIdle(jobs: Map<string, JobQueue<Queued>>): void {
  if (jobs.size < IDLE_JOBS) return;
  for (const [id, job] of jobs) if (job.size === 0) jobs.delete(id);
}

/** Moves one group from the engine with the longest queue, of its job that was served least. */
function steal<Item extends Queued>(lane: Lane<Item>, thief: string): boolean {
  const queued = new Map<string, number>();
  for (const job of lane.jobs.values()) {
    for (const [home, tokens] of job.tokensByHome) queued.set(home, (queued.get(home) ?? 0) + tokens);
  }
  const [victim] = [...queued].sort(([, left], [, right]) => right - left)[0] ?? [];
  if (victim === undefined) return false;
  let robbed: JobQueue<Item> | null = null;
  for (const job of lane.jobs.values()) {
    if (job.tokensAt(victim) > 0 && (robbed === null || job.served < robbed.served)) robbed = job;
  }
  return robbed?.moveLastGroup(victim, thief) ?? false;
}
