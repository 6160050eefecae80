import { seededRandom } from '../chaos-transport/random.js';
import { BlockPool } from './block-pool.js';
import {
  DEFAULT_MODEL_OPTIONS,
  type FinishedSequence,
  type ModelEvent,
  type ModelGauges,
  type ModelOptions,
  type SequenceRequest,
  type StepResult,
} from './model-types.js';
import { hashPair, hashText } from './random.js';

interface Sequence {
  readonly id: string;
  readonly order: number;
  readonly priority: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly promptHashes: readonly number[];
  /** Root of the hashes of blocks that hold generated tokens: nobody else can hit those. */
  readonly ownHash: number;
  readonly submittedMs: number;
  startedMs: number;
  firstTokenMs: number;
  cachedTokens: number;
  /** Tokens whose KV is in memory. */
  computedTokens: number;
  generatedTokens: number;
  blocks: number[];
  publishedBlocks: number;
  preemptions: number;
  running: boolean;
}

interface StepPlan {
  readonly startedMs: number;
  readonly durationMs: number;
  readonly scheduled: readonly { readonly sequence: Sequence; readonly tokens: number }[];
  readonly scheduledTokens: number;
}

/**
 * vLLM's scheduler, step by step: running sequences first (one token each, or the next part of their prompt), then
 * waiting ones in strict order while tokens, sequence slots and KV blocks last; when KV runs out the newest sequence
 * is preempted and computed again later. It holds no clock and no timer: the caller says when a step begins.
 *
 * `advance()` runs one step in virtual time. A driver in real time calls `beginStep`, waits for the duration, and
 * calls `finishStep`; sequences may be submitted and aborted in between.
 */
export class StepModel {
  readonly options: ModelOptions;
  /** Virtual time in milliseconds: the end of the last step, or what the driver last said. */
  nowMs = 0;
  readonly #pool: BlockPool;
  readonly #random: () => number;
  readonly #onEvent: ((event: ModelEvent) => void) | undefined;
  readonly #sequences = new Map<string, Sequence>();
  readonly #running: Sequence[] = [];
  readonly #waiting: Sequence[] = [];
  #plan: StepPlan | null = null;
  #steps = 0;
  #slowness = 1;
  #order = 0;
  readonly #totals = { preemptions: 0, queries: 0, hits: 0, promptTokens: 0, generationTokens: 0 };
  #reported: ModelGauges;

  constructor(options: Partial<ModelOptions> = {}, onEvent?: (event: ModelEvent) => void) {
    this.options = { ...DEFAULT_MODEL_OPTIONS, ...options };
    this.#pool = new BlockPool(this.options.numGpuBlocks);
    this.#random = seededRandom(this.options.seed);
    this.#onEvent = onEvent;
    this.#reported = this.gauges;
  }

  get gauges(): ModelGauges {
    return {
      running: this.#running.length,
      waiting: this.#waiting.length,
      kvCacheUsage: this.#pool.usedBlocks / this.#pool.totalBlocks,
      preemptions: this.#totals.preemptions,
      prefixCacheQueries: this.#totals.queries,
      prefixCacheHits: this.#totals.hits,
      promptTokens: this.#totals.promptTokens,
      generationTokens: this.#totals.generationTokens,
    };
  }

  /**
   * What `/metrics` shows. vLLM writes it at the end of a step, after what ended was taken out and before what waits was
   * let in; during the next step, which takes seconds where long prompts come in, it stands still.
   */
  get reported(): ModelGauges {
    return this.#reported;
  }

  /** True when no sequence is running or waiting. */
  get idle(): boolean {
    return this.#sequences.size === 0;
  }

  /**
   * Puts a sequence into the waiting queue.
   * @throws {RangeError} when it could never fit into KV memory, or its id is in use.
   */
  submit(request: SequenceRequest): void {
    const { blockSize, numGpuBlocks } = this.options;
    if (this.#sequences.has(request.id)) throw new RangeError(`sequence ${request.id} is already known`);
    if (Math.ceil((request.promptTokens + request.outputTokens) / blockSize) > numGpuBlocks) {
      throw new RangeError(`sequence ${request.id} is larger than the KV memory`);
    }
    const sequence: Sequence = {
      id: request.id,
      order: this.#order,
      priority: request.priority ?? 0,
      promptTokens: request.promptTokens,
      outputTokens: request.outputTokens,
      promptHashes: this.options.prefixCaching ? (request.blockHashes ?? []) : [],
      ownHash: hashText(request.id, this.#order + 1),
      submittedMs: this.nowMs,
      startedMs: -1,
      firstTokenMs: -1,
      cachedTokens: 0,
      computedTokens: 0,
      generatedTokens: 0,
      blocks: [],
      publishedBlocks: 0,
      preemptions: 0,
      running: false,
    };
    this.#order += 1;
    this.#sequences.set(sequence.id, sequence);
    this.#enqueue(sequence, false);
    this.#onEvent?.({ kind: 'submit', atMs: this.nowMs, id: sequence.id });
  }

  /** Ends a sequence at once and frees its memory. Returns false when it is unknown, for instance because it ended. */
  abort(id: string): boolean {
    const sequence = this.#sequences.get(id);
    if (sequence === undefined) return false;
    this.#remove(sequence);
    if (this.idle) this.#reported = this.gauges;
    this.#onEvent?.({ kind: 'abort', atMs: this.nowMs, id });
    return true;
  }

  /** Shrinks usable KV memory to this share of `numGpuBlocks` (a fault); 1 restores it. */
  setKvShare(share: number): void {
    this.#pool.withhold(Math.round(this.options.numGpuBlocks * (1 - share)));
  }

  /** Makes every step from the next one on take so many times as long (a fault); 1 restores it. */
  setSlowness(factor: number): void {
    this.#slowness = factor;
  }

  /** Runs one step in virtual time, or returns null when nothing can run. */
  advance(): StepResult | null {
    const durationMs = this.beginStep();
    return durationMs === null ? null : this.finishStep(this.nowMs + durationMs);
  }

  /** Schedules a step and returns how long it takes, or null when nothing can run. */
  beginStep(nowMs = this.nowMs): number | null {
    if (this.#plan !== null) throw new Error('the step before has not been finished');
    this.nowMs = nowMs;
    const scheduled: { sequence: Sequence; tokens: number }[] = [];
    const preempted = this.#scheduleRunning(scheduled);
    if (!preempted) this.#scheduleWaiting(scheduled);
    if (scheduled.length === 0) return null;

    let scheduledTokens = 0;
    let contextTokens = 0;
    for (const { sequence, tokens } of scheduled) {
      scheduledTokens += tokens;
      contextTokens += sequence.computedTokens + tokens;
    }
    const { baseMs, perTokenMs, perSequenceMs, perContextTokenMs, floorMs = 0 } = this.options.stepTime;
    const lineMs =
      baseMs +
      perTokenMs * scheduledTokens +
      perSequenceMs * scheduled.length +
      perContextTokenMs * contextTokens;
    const exactMs = Math.max(floorMs, lineMs);
    const durationMs = this.#slowness * exactMs * (1 + this.options.jitter * (2 * this.#random() - 1));
    this.#plan = { startedMs: nowMs, durationMs, scheduled, scheduledTokens };
    this.#onEvent?.({
      kind: 'step',
      atMs: nowMs,
      durationMs,
      tokens: scheduledTokens,
      sequences: scheduled.length,
      waiting: this.#waiting.length,
    });
    return durationMs;
  }

  /** Applies the step begun last: tokens are generated and sequences end. */
  finishStep(nowMs = this.nowMs): StepResult {
    const plan = this.#plan;
    if (plan === null) throw new Error('no step has begun');
    this.#plan = null;
    this.nowMs = nowMs;
    this.#steps += 1;
    const finished: FinishedSequence[] = [];
    for (const { sequence, tokens } of plan.scheduled) {
      // Aborted while the step ran: its memory is given back already.
      if (!sequence.running) continue;
      sequence.computedTokens += tokens;
      if (sequence.computedTokens < sequence.promptTokens + sequence.generatedTokens) continue;
      if (sequence.firstTokenMs < 0) sequence.firstTokenMs = nowMs;
      if (sequence.outputTokens > 0) {
        sequence.generatedTokens += 1;
        this.#totals.generationTokens += 1;
      }
      if (sequence.generatedTokens >= sequence.outputTokens) finished.push(this.#finish(sequence));
    }
    this.#reported = this.gauges;
    return {
      step: this.#steps,
      startedMs: plan.startedMs,
      durationMs: plan.durationMs,
      scheduledTokens: plan.scheduledTokens,
      sequences: plan.scheduled.length,
      finished,
    };
  }

  /** Returns true when a sequence was preempted: then nothing is admitted in this step. */
  #scheduleRunning(scheduled: { sequence: Sequence; tokens: number }[]): boolean {
    let budget = this.options.maxNumBatchedTokens;
    let preempted = false;
    for (let index = 0; index < this.#running.length && budget > 0; index += 1) {
      const sequence = this.#running[index];
      if (sequence === undefined) break;
      const missing = sequence.promptTokens + sequence.generatedTokens - sequence.computedTokens;
      const tokens = Math.min(missing, budget);
      let room = this.#grow(sequence, tokens);
      while (!room) {
        const victim = this.#victim();
        preempted = true;
        const position = this.#running.indexOf(victim);
        this.#preempt(victim, position);
        const undone = scheduled.findIndex((entry) => entry.sequence === victim);
        if (undone !== -1) budget += scheduled.splice(undone, 1)[0]?.tokens ?? 0;
        if (position <= index) index -= 1;
        if (victim === sequence) break;
        room = this.#grow(sequence, tokens);
      }
      if (!room) break;
      budget -= tokens;
      scheduled.push({ sequence, tokens });
    }
    return preempted;
  }

  /** Strict head-of-line: the first sequence that does not fit stops admission. */
  #scheduleWaiting(scheduled: { sequence: Sequence; tokens: number }[]): void {
    const { blockSize, maxNumBatchedTokens, maxNumSeqs } = this.options;
    let budget = maxNumBatchedTokens;
    for (const { tokens } of scheduled) budget -= tokens;
    while (budget > 0 && this.#running.length < maxNumSeqs) {
      const sequence = this.#waiting[0];
      if (sequence === undefined) return;
      const totalTokens = sequence.promptTokens + sequence.generatedTokens;
      const hashes = this.#hashesOf(sequence, totalTokens);
      // At least one token must be computed to have something to sample from.
      const { cached, cachedFree } = this.#pool.match(hashes, Math.floor((totalTokens - 1) / blockSize));
      if (Math.ceil(totalTokens / blockSize) - cached > this.#pool.freeBlocks - cachedFree) return;

      this.#waiting.shift();
      for (let block = 0; block < cached; block += 1)
        sequence.blocks.push(this.#pool.share(hashes[block] ?? 0));
      sequence.publishedBlocks = cached;
      sequence.computedTokens = cached * blockSize;
      sequence.running = true;
      this.#running.push(sequence);
      if (sequence.startedMs < 0) {
        sequence.startedMs = this.nowMs;
        sequence.cachedTokens = sequence.computedTokens;
        this.#totals.queries += sequence.promptTokens;
        this.#totals.hits += sequence.cachedTokens;
        this.#totals.promptTokens += sequence.promptTokens;
      }
      this.#onEvent?.({
        kind: 'admit',
        atMs: this.nowMs,
        id: sequence.id,
        cachedTokens: sequence.computedTokens,
      });
      const tokens = Math.min(totalTokens - sequence.computedTokens, budget);
      this.#grow(sequence, tokens);
      budget -= tokens;
      scheduled.push({ sequence, tokens });
    }
  }

  /** Makes room for the next tokens of a sequence and publishes the blocks they fill. False when KV is full. */
  #grow(sequence: Sequence, tokens: number): boolean {
    const { blockSize, prefixCaching } = this.options;
    const tokensThen = sequence.computedTokens + tokens;
    const needed = Math.ceil(tokensThen / blockSize) - sequence.blocks.length;
    if (needed > this.#pool.freeBlocks) return false;
    for (let count = 0; count < needed; count += 1) sequence.blocks.push(this.#pool.take());
    if (!prefixCaching) return true;
    const full = Math.floor(tokensThen / blockSize);
    for (; sequence.publishedBlocks < full; sequence.publishedBlocks += 1) {
      const index = sequence.publishedBlocks;
      this.#pool.publish(sequence.blocks[index] ?? 0, this.#hashOf(sequence, index));
    }
    return true;
  }

  #hashOf(sequence: Sequence, block: number): number {
    return sequence.promptHashes[block] ?? hashPair(sequence.ownHash, block);
  }

  #hashesOf(sequence: Sequence, totalTokens: number): readonly number[] {
    if (sequence.preemptions === 0 || !this.options.prefixCaching) return sequence.promptHashes;
    const blocks = Math.floor(totalTokens / this.options.blockSize);
    return Array.from({ length: blocks }, (_, block) => this.#hashOf(sequence, block));
  }

  #victim(): Sequence {
    let victim = this.#running.at(-1);
    if (this.options.schedulingPolicy === 'priority') {
      for (const sequence of this.#running) {
        if (victim === undefined || comesBefore(victim, sequence)) victim = sequence;
      }
    }
    if (victim === undefined) throw new Error('nothing to preempt');
    return victim;
  }

  #preempt(sequence: Sequence, position: number): void {
    this.#running.splice(position, 1);
    this.#free(sequence);
    sequence.computedTokens = 0;
    sequence.preemptions += 1;
    this.#totals.preemptions += 1;
    this.#enqueue(sequence, true);
    this.#onEvent?.({ kind: 'preempt', atMs: this.nowMs, id: sequence.id });
  }

  #enqueue(sequence: Sequence, first: boolean): void {
    if (this.options.schedulingPolicy === 'priority') {
      const position = this.#waiting.findIndex((other) => comesBefore(sequence, other));
      this.#waiting.splice(position === -1 ? this.#waiting.length : position, 0, sequence);
    } else if (first) {
      this.#waiting.unshift(sequence);
    } else {
      this.#waiting.push(sequence);
    }
  }

  #finish(sequence: Sequence): FinishedSequence {
    this.#remove(sequence);
    this.#onEvent?.({ kind: 'finish', atMs: this.nowMs, id: sequence.id });
    const {
      id,
      promptTokens,
      cachedTokens,
      outputTokens,
      preemptions,
      submittedMs,
      startedMs,
      firstTokenMs,
    } = sequence;
    return {
      id,
      promptTokens,
      cachedTokens,
      outputTokens,
      preemptions,
      submittedMs,
      startedMs,
      firstTokenMs,
      finishedMs: this.nowMs,
    };
  }

  #remove(sequence: Sequence): void {
    this.#sequences.delete(sequence.id);
    const queue = sequence.running ? this.#running : this.#waiting;
    queue.splice(queue.indexOf(sequence), 1);
    this.#free(sequence);
  }

  #free(sequence: Sequence): void {
    this.#pool.release(sequence.blocks);
    sequence.blocks = [];
    sequence.publishedBlocks = 0;
    sequence.running = false;
  }
}

/** Order of the waiting queue under `priority`: lower number first, then earlier arrival. */
function comesBefore(first: Sequence, second: Sequence): boolean {
  return first.priority === second.priority ? first.order < second.order : first.priority < second.priority;
}
