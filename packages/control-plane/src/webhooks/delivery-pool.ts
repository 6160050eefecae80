import { forgetOldest } from '../forget-oldest.js';

/** Calls at once: in all, of one project, to one host. */
const PARALLEL = 16;
const PER_PROJECT = 4;
const PER_HOST = 2;
/** A host that did not answer in time is left alone for so long, twice as long after each further time. */
const FIRST_REST_MS = 5_000;
const LAST_REST_MS = 300_000;
const REMEMBERED_HOSTS = 10_000;

interface Call {
  readonly projectId: string;
  readonly host: string;
  readonly run: () => Promise<void>;
}

/** Lets calls begin so that no project and no host takes all the places: those that must wait do so here. */
export class DeliveryPool {
  readonly #waiting: Call[] = [];
  readonly #running = new Set<Call>();
  readonly #rests = new Map<string, { times: number; untilMs: number }>();
  #changed = Promise.withResolvers<void>();

  /** Calls that may be taken on now. */
  get room(): number {
    return PARALLEL - this.#running.size - this.#waiting.length;
  }

  get isIdle(): boolean {
    return this.#running.size + this.#waiting.length === 0;
  }

  /** Projects that have something here, each with how much more it may bring. */
  get roomOfProjects(): ReadonlyMap<string, number> {
    const rooms = new Map<string, number>();
    for (const { projectId } of [...this.#running, ...this.#waiting]) {
      rooms.set(projectId, (rooms.get(projectId) ?? PER_PROJECT) - 1);
    }
    return rooms;
  }

  get perProject(): number {
    return PER_PROJECT;
  }

  /** Until when a host is left alone; `null`: it may be called. */
  restsUntil(host: string, nowMs: number): number | null {
    const rest = this.#rests.get(host);
    return rest !== undefined && rest.untilMs > nowMs ? rest.untilMs : null;
  }

  answered(host: string): void {
    this.#rests.delete(host);
  }

  timedOut(host: string, nowMs: number): void {
    const times = (this.#rests.get(host)?.times ?? 0) + 1;
    this.#rests.delete(host);
    this.#rests.set(host, {
      times,
      untilMs: nowMs + Math.min(LAST_REST_MS, FIRST_REST_MS * 2 ** (times - 1)),
    });
    forgetOldest(this.#rests, REMEMBERED_HOSTS);
  }

  /** @param call.run never rejects */
  add(call: Call): void {
    this.#waiting.push(call);
    this.#start();
  }

  /** Resolves when a call has ended since the last time, or at once when there is none. */
  async next(): Promise<void> {
    if (!this.isIdle) await this.#changed.promise;
  }

  #start(): void {
    for (const call of [...this.#waiting]) {
      const toHost = [...this.#running].filter(({ host }) => host === call.host).length;
      if (toHost >= PER_HOST) continue;
      this.#waiting.splice(this.#waiting.indexOf(call), 1);
      this.#running.add(call);
      void call.run().finally(() => {
        this.#running.delete(call);
        this.#start();
        this.#changed.resolve();
        this.#changed = Promise.withResolvers<void>();
      });
    }
  }
}
