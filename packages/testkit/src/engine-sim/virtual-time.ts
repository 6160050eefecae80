import type { StepModel } from './model.js';
import type { FinishedSequence, SequenceRequest } from './model-types.js';

interface TimelineEntry {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock without waiting: events run in order of time, and in order of entry where times are equal. */
export class VirtualTimeline {
  nowMs = 0;
  #order = 0;
  /** Binary heap, earliest entry first. */
  readonly #heap: TimelineEntry[] = [];

  /** Runs `run` after `delayMs` of virtual time. */
  after(delayMs: number, run: () => void): void {
    this.#heap.push({ atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, run });
    this.#order += 1;
    let child = this.#heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.#swapIfEarlier(child, parent)) break;
      child = parent;
    }
  }

  /** Runs events until none is left, or the next one lies after `untilMs`. Returns the time then. */
  run(untilMs = Number.POSITIVE_INFINITY): number {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      this.nowMs = next.atMs;
      next.run();
    }
    if (Number.isFinite(untilMs)) this.nowMs = Math.max(this.nowMs, untilMs);
    return this.nowMs;
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    let parent = 0;
    for (;;) {
      const left = parent * 2 + 1;
      const right = left + 1;
      const child = right < this.#heap.length && this.#earlier(right, left) ? right : left;
      if (child >= this.#heap.length || !this.#swapIfEarlier(child, parent)) return;
      parent = child;
    }
  }

  #earlier(first: number, second: number): boolean {
    const a = this.#heap[first];
    const b = this.#heap[second];
    if (a === undefined || b === undefined) return false;
    return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
  }

  #swapIfEarlier(child: number, parent: number): boolean {
    if (!this.#earlier(child, parent)) return false;
    const a = this.#heap[child];
    const b = this.#heap[parent];
    if (a === undefined || b === undefined) return false;
    this.#heap[child] = b;
    this.#heap[parent] = a;
    return true;
  }
}

/** An engine on a virtual timeline, for tests of policies: steps follow each other as on a real engine. */
export class VirtualEngine {
  readonly model: StepModel;
  readonly #timeline: VirtualTimeline;
  readonly #onFinished: (finished: FinishedSequence) => void;
  #stepping = false;

  constructor(timeline: VirtualTimeline, model: StepModel, onFinished: (finished: FinishedSequence) => void) {
    this.#timeline = timeline;
    this.model = model;
    this.#onFinished = onFinished;
  }

  submit(request: SequenceRequest): void {
    this.model.nowMs = this.#timeline.nowMs;
    this.model.submit(request);
    this.wake();
  }

  abort(id: string): boolean {
    this.model.nowMs = this.#timeline.nowMs;
    const known = this.model.abort(id);
    this.wake();
    return known;
  }

  /** Tries to step again; needed only after KV memory was given back to a stalled engine. */
  wake(): void {
    if (this.#stepping) return;
    this.#stepping = true;
    // Through the timeline, so that everything submitted at this instant is in the same step.
    this.#timeline.after(0, () => this.#step());
  }

  #step(): void {
    const durationMs = this.model.beginStep(this.#timeline.nowMs);
    if (durationMs === null) {
      this.#stepping = false;
      return;
    }
    this.#timeline.after(durationMs, () => {
      const { finished } = this.model.finishStep(this.#timeline.nowMs);
      for (const sequence of finished) this.#onFinished(sequence);
      this.#timeline.after(0, () => this.#step());
    });
  }
}
