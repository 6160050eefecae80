import { performance } from 'node:perf_hooks';
import type { Backend, BackendJob, OnRunning } from './backend.js';
import { StepModel } from './model.js';
import type { FinishedSequence, ModelGauges, ModelOptions } from './model-types.js';
import { textBlockHashes } from './prompt.js';

/** A driver that falls behind by more than this starts counting from now instead of hurrying after. */
const RESYNC_LAG_MS = 50;

/** The step model in real time: what `advance()` computes in virtual time takes that long here. */
export class StepBackend implements Backend {
  readonly #model: StepModel;
  readonly #timeScale: number;
  readonly #onRunning: OnRunning;
  readonly #jobs = new Map<string, BackendJob>();
  #stepping = false;
  #frozen = false;
  #stopped = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: Partial<ModelOptions>, timeScale: number, onRunning: OnRunning) {
    this.#onRunning = onRunning;
    this.#model = new StepModel(options);
    this.#timeScale = timeScale;
  }

  submit(job: BackendJob): void {
    const { blockSize, numGpuBlocks } = this.#model.options;
    const outputTokens = Math.ceil(job.outputTokens * job.slowFactor);
    this.#jobs.set(job.id, job);
    this.#model.nowMs = this.#now();
    this.#model.submit({
      id: job.id,
      promptTokens: job.promptTokens,
      outputTokens: Math.min(outputTokens, numGpuBlocks * blockSize - job.promptTokens),
      blockHashes: textBlockHashes(job.promptText, blockSize),
      priority: job.priority,
    });
    this.#wake();
  }

  abort(id: string): void {
    if (!this.#jobs.delete(id)) return;
    this.#model.nowMs = this.#now();
    this.#model.abort(id);
    this.#wake();
  }

  gauges(): ModelGauges {
    return this.#model.gauges;
  }

  reportedGauges(): ModelGauges {
    return this.#model.reported;
  }

  setKvShare(share: number): void {
    this.#model.setKvShare(share);
    this.#wake();
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    this.#wake();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#jobs.clear();
  }

  #now(): number {
    return performance.now() / this.#timeScale;
  }

  #wake(): void {
    if (this.#stepping || this.#stopped || this.#frozen) return;
    this.#stepping = true;
    // Not at once: everything that arrived in this turn of the event loop belongs in the same step.
    setImmediate(() => this.#step(this.#now()));
  }

  #step(startMs: number): void {
    if (this.#stopped) return;
    const durationMs = this.#frozen ? null : this.#model.beginStep(startMs);
    if (durationMs === null) {
      this.#stepping = false;
      return;
    }
    this.#onRunning(this.#model.gauges.running);
    const dueMs = startMs + durationMs;
    const finish = () => this.#finishStep(dueMs);
    this.#timer = setTimeout(finish, Math.max(0, (dueMs - this.#now()) * this.#timeScale));
  }

  #finishStep(dueMs: number): void {
    if (this.#stopped) return;
    const { finished } = this.#model.finishStep(dueMs);
    for (const sequence of finished) this.#deliver(sequence);
    const lagMs = (this.#now() - dueMs) * this.#timeScale;
    setImmediate(() => this.#step(lagMs > RESYNC_LAG_MS ? this.#now() : dueMs));
  }

  #deliver(sequence: FinishedSequence): void {
    const job = this.#jobs.get(sequence.id);
    if (job === undefined) return;
    this.#jobs.delete(sequence.id);
    const scale = this.#timeScale;
    job.onDone({
      cachedTokens: sequence.cachedTokens,
      // A timer may fire a fraction of a millisecond early, so that a step seems to end before it was asked for.
      queueTimeMs: Math.max(0, sequence.startedMs - sequence.submittedMs) * scale,
      timeToFirstTokenMs: Math.max(0, sequence.firstTokenMs - sequence.submittedMs) * scale,
    });
  }
}
