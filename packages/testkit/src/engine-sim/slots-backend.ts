import { performance } from 'node:perf_hooks';
import type { Backend, BackendJob, OnRunning } from './backend.js';
import type { ModelGauges } from './model-types.js';

export interface SlotsOptions {
  readonly slots: number;
  readonly serviceTimeMs: number;
  readonly jitter: number;
  readonly cachedTokens: number;
}

interface QueuedJob {
  readonly job: BackendJob;
  readonly queuedAtMs: number;
}

interface RunningJob extends QueuedJob {
  readonly startedAtMs: number;
  readonly timer: NodeJS.Timeout | null;
}

/** An engine without insides: each job holds one of the slots for its service time, others wait in order. */
export class SlotsBackend implements Backend {
  readonly #options: SlotsOptions;
  readonly #onRunning: OnRunning;
  readonly #running = new Map<string, RunningJob>();
  /** In order of arrival: a map, so that a job in the middle is dropped without a search. */
  readonly #waiting = new Map<string, QueuedJob>();
  readonly #totals = { queries: 0, hits: 0, promptTokens: 0, generationTokens: 0 };
  /** Jobs whose time ended while frozen. */
  #overdue: string[] | null = null;

  constructor(options: SlotsOptions, onRunning: OnRunning) {
    this.#options = options;
    this.#onRunning = onRunning;
  }

  submit(job: BackendJob): void {
    const queued = { job, queuedAtMs: performance.now() };
    if (this.#running.size < this.#options.slots) this.#start(queued);
    else this.#waiting.set(job.id, queued);
  }

  abort(id: string): void {
    if (this.#waiting.delete(id)) return;
    const running = this.#running.get(id);
    if (running === undefined) return;
    if (running.timer !== null) clearTimeout(running.timer);
    this.#running.delete(id);
    this.#startWaiting();
  }

  reportedGauges(): ModelGauges {
    return this.gauges();
  }

  gauges(): ModelGauges {
    return {
      running: this.#running.size,
      waiting: this.#waiting.size,
      kvCacheUsage: Math.min(1, this.#running.size / this.#options.slots / 2),
      preemptions: 0,
      prefixCacheQueries: this.#totals.queries,
      prefixCacheHits: this.#totals.hits,
      promptTokens: this.#totals.promptTokens,
      generationTokens: this.#totals.generationTokens,
    };
  }

  /** Slots have no KV memory. */
  setKvShare(): void {}

  freeze(): void {
    this.#overdue ??= [];
  }

  thaw(): void {
    const overdue = this.#overdue ?? [];
    this.#overdue = null;
    for (const id of overdue) this.#finish(id);
  }

  stop(): void {
    for (const { timer } of this.#running.values()) {
      if (timer !== null) clearTimeout(timer);
    }
    this.#running.clear();
    this.#waiting.clear();
    this.#overdue = null;
  }

  #start(queued: QueuedJob): void {
    const { job } = queued;
    const { serviceTimeMs, jitter } = this.#options;
    const serviceMs = serviceTimeMs * job.slowFactor * (1 + jitter * (2 * job.jitterUnit - 1));
    const timer = serviceMs > 0 ? setTimeout(() => this.#finish(job.id), serviceMs) : null;
    this.#running.set(job.id, { ...queued, startedAtMs: performance.now(), timer });
    this.#onRunning(this.#running.size);
    if (timer === null) this.#finish(job.id);
  }

  #finish(id: string): void {
    if (this.#overdue !== null) {
      this.#overdue.push(id);
      return;
    }
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    const { job, queuedAtMs, startedAtMs } = running;
    const cachedTokens = Math.min(this.#options.cachedTokens, job.promptTokens);
    this.#totals.queries += job.promptTokens;
    this.#totals.hits += cachedTokens;
    this.#totals.promptTokens += job.promptTokens;
    this.#totals.generationTokens += job.outputTokens;
    const queueTimeMs = startedAtMs - queuedAtMs;
    // The slot is taken again before the answer is written: a real engine does not wait for its clients either.
    this.#startWaiting();
    job.onDone({ cachedTokens, queueTimeMs, timeToFirstTokenMs: queueTimeMs });
  }

  #startWaiting(): void {
    while (this.#running.size < this.#options.slots) {
      const [next] = this.#waiting.values();
      if (next === undefined) return;
      this.#waiting.delete(next.job.id);
      this.#start(next);
    }
  }
}
