import {
  DEFAULT_MODEL_OPTIONS,
  type FinishedSequence,
  formatModelEvent,
  type ModelGauges,
  type ModelOptions,
  StepModel,
  VirtualEngine,
  VirtualTimeline,
} from '@batch-infer/testkit';
import { seededRandom } from '@batch-infer/testkit/chaos-transport/random';
import type { Queued } from '../src/loop/job-queue.js';
import { WorkQueue } from '../src/loop/work-queue.js';
import {
  control,
  initialWindow,
  SAMPLE_INTERVAL_MS,
  type WindowSample,
  type WindowState,
  windowOf,
} from '../src/window/controller.js';

/** What goes wrong at the engine between two moments, in milliseconds. */
export interface Fault {
  readonly fromMs: number;
  readonly untilMs: number;
  /**
   * `refusing`: 503 to everything new; `dead`: it loses all it has and takes nothing; `aborting`: it cuts off what it
   * has, as at a shutdown, and is there at once again; `hanging`: nothing comes in or goes out; `slow`: its steps take
   * four times as long; `garbage`: its answers are none, and their items are tried again; `far`: 200 ms there and back;
   * `crowded`: others send 40 requests a second; `stale`: its gauges stand still; `lying`: it always says that nothing
   * waits; `half_kv`: half of its memory is gone.
   */
  readonly kind:
    | 'refusing'
    | 'dead'
    | 'aborting'
    | 'hanging'
    | 'slow'
    | 'garbage'
    | 'far'
    | 'crowded'
    | 'stale'
    | 'lying'
    | 'half_kv';
}

export interface ForeignLoad {
  readonly perSecond: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

export interface Scenario {
  readonly seed: number;
  readonly items: number;
  readonly promptTokens: number;
  readonly outputTokens: (index: number) => number;
  readonly engine?: Partial<ModelOptions>;
  /** `null`: everything at once. */
  readonly window: 'steered' | 'blind' | number | null;
  readonly roundTripMs?: number;
  readonly reserve?: number;
  readonly faults?: readonly Fault[];
  readonly foreign?: ForeignLoad;
  /** Ends the run here instead of with the last item. */
  readonly untilMs?: number;
}

export interface Course {
  readonly makespanMs: number;
  readonly preemptions: number;
  /** The window at each sample. */
  readonly windows: readonly number[];
  /** When our items ended. */
  readonly endedAtMs: readonly number[];
  /** Time to first token of each foreign request, in order of its end. */
  readonly foreignFirstTokenMs: readonly number[];
  /** Everything that happened at the engine, a line each. */
  readonly log: readonly string[];
}

interface Unit extends Queued {
  readonly id: string;
  readonly index: number;
}

const RETRY_MS = 250;
const FAR_MS = 200;
const SLOWNESS = 4;
const CROWD: ForeignLoad = { perSecond: 40, promptTokens: 256, outputTokens: 100 };

/**
 * A runner's loop on virtual time, with the real window and the real queue: dispatch on every completion, a sample every
 * 500 ms. Transport and engine are the step model's.
 */
export function runVirtually(scenario: Scenario): Course {
  const run = new VirtualRunner(scenario);
  return run.run();
}

class VirtualRunner {
  readonly #scenario: Scenario;
  readonly #timeline = new VirtualTimeline();
  readonly #model: StepModel;
  readonly #engine: VirtualEngine;
  readonly #random: () => number;
  readonly #queue: WorkQueue<Unit>;
  readonly #flights = new Map<string, Unit>();
  readonly #log: string[] = [];
  readonly #windows: number[] = [];
  readonly #endedAtMs: number[] = [];
  readonly #foreignFirstTokenMs: number[] = [];
  #state: WindowState;
  #gauges: ModelGauges | null = null;
  #gaugesAtMs = 0;
  #counts = { completions: 0, outputTokens: 0, rejections: 0 };
  #attempts = 0;
  #foreign = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    const options = { ...DEFAULT_MODEL_OPTIONS, jitter: 0.1, ...scenario.engine, seed: scenario.seed };
    this.#model = new StepModel(options, (event) => this.#log.push(formatModelEvent(event)));
    this.#engine = new VirtualEngine(this.#timeline, this.#model, (finished) => this.#finished(finished));
    this.#random = seededRandom(scenario.seed);
    this.#state = initialWindow(0);
    this.#queue = new WorkQueue<Unit>({ nowMs: () => this.#timeline.nowMs, itemsPerSecond: () => 0 });
    const shard = { lease: { job_id: 'job', priority: 'normal' as const }, jobEndsAtMs: 1e12 };
    for (let index = 0; index < scenario.items; index += 1)
      this.#queue.push({ run: shard, tokens: 1, prefixKey: 0, id: `i${index}`, index }, 'engine');
  }

  run(): Course {
    for (const fault of this.#scenario.faults ?? []) this.#schedule(fault);
    if (this.#scenario.foreign !== undefined)
      this.#foreignArrives(this.#scenario.foreign, Number.POSITIVE_INFINITY);
    this.#timeline.after(0, () => this.#sample());
    this.#timeline.run(this.#scenario.untilMs ?? 24 * 3_600_000);
    return {
      makespanMs: this.#endedAtMs.at(-1) ?? 0,
      preemptions: this.#model.gauges.preemptions,
      windows: this.#windows,
      endedAtMs: this.#endedAtMs,
      foreignFirstTokenMs: this.#foreignFirstTokenMs,
      log: this.#log,
    };
  }

  get #over(): boolean {
    return this.#endedAtMs.length >= this.#scenario.items;
  }

  #is(kind: Fault['kind']): boolean {
    return this.#current(kind) !== undefined;
  }

  #current(kind: Fault['kind']): Fault | undefined {
    const { nowMs } = this.#timeline;
    return (this.#scenario.faults ?? []).find(
      (fault) => fault.kind === kind && nowMs >= fault.fromMs && nowMs < fault.untilMs,
    );
  }

  get #roundTripMs(): number {
    return this.#is('far') ? FAR_MS : (this.#scenario.roundTripMs ?? 1);
  }

  /** Runs this when the engine no longer hangs: at once, as a rule. */
  #unlessHanging(run: () => void): void {
    const hang = this.#current('hanging');
    if (hang === undefined) run();
    else this.#timeline.after(hang.untilMs - this.#timeline.nowMs, run);
  }

  get #limit(): number {
    const { window } = this.#scenario;
    if (window === null) return Number.POSITIVE_INFINITY;
    return typeof window === 'number' ? window : windowOf(this.#state);
  }

  #fill(): void {
    // The breaker keeps everything back while the engine is gone.
    while (!this.#is('dead') && this.#flights.size < this.#limit) {
      const unit = this.#queue.take('engine');
      if (unit === null) return;
      this.#attempts += 1;
      const id = `${unit.id}#${this.#attempts}`;
      this.#flights.set(id, unit);
      this.#timeline.after(this.#roundTripMs / 2, () => this.#unlessHanging(() => this.#arrive(id, unit)));
    }
  }

  #arrive(id: string, unit: Unit): void {
    if (!this.#flights.has(id)) return;
    if (this.#is('refusing')) {
      this.#flights.delete(id);
      this.#counts.rejections += 1;
      this.#control();
      this.#timeline.after(RETRY_MS * (1 + this.#random()), () => this.#again(unit));
      return;
    }
    const { promptTokens, outputTokens } = this.#scenario;
    this.#engine.submit({ id, promptTokens, outputTokens: outputTokens(unit.index) });
  }

  #again(unit: Unit): void {
    this.#queue.pushRetry(unit);
    this.#fill();
  }

  #finished(finished: FinishedSequence): void {
    if (!this.#flights.has(finished.id)) {
      this.#foreign -= 1;
      this.#foreignFirstTokenMs.push(finished.firstTokenMs - finished.submittedMs);
      return;
    }
    // The answer travels before its place is free again.
    this.#timeline.after(this.#roundTripMs / 2, () => this.#unlessHanging(() => this.#answered(finished)));
  }

  #answered({ id, outputTokens }: FinishedSequence): void {
    const unit = this.#flights.get(id);
    if (unit === undefined) return;
    this.#flights.delete(id);
    if (this.#is('garbage')) {
      this.#timeline.after(RETRY_MS * this.#random(), () => this.#again(unit));
    } else {
      this.#counts.completions += 1;
      this.#counts.outputTokens += outputTokens;
      this.#endedAtMs.push(this.#timeline.nowMs);
    }
    this.#fill();
  }

  #sample(): void {
    if (!this.#is('stale') && !this.#is('hanging')) {
      const gauges = this.#model.reported;
      this.#gauges = this.#is('lying') ? { ...gauges, waiting: 0 } : gauges;
      this.#gaugesAtMs = this.#timeline.nowMs;
    }
    if (!this.#is('dead')) this.#control();
    this.#windows.push(windowOf(this.#state));
    this.#log.push(`${Math.round(this.#timeline.nowMs)} window ${windowOf(this.#state)}`);
    this.#fill();
    if (!this.#over) this.#timeline.after(SAMPLE_INTERVAL_MS, () => this.#sample());
  }

  #control(): void {
    const { reserve = 0, window, engine } = this.#scenario;
    const options = { ...DEFAULT_MODEL_OPTIONS, ...engine };
    const kvTokens = options.numGpuBlocks * options.blockSize;
    const seen: WindowSample = {
      nowMs: this.#timeline.nowMs,
      gauges: window === 'blind' || this.#gauges === null ? null : { ...this.#gauges, kvTokens, slots: null },
      gaugesAtMs: this.#gaugesAtMs,
      inFlight: this.#flights.size,
      ...this.#counts,
      ...{ retryAfterMs: null, timeouts: 0, itemTokens: null, maxSequences: null },
      ...{ roundTripMs: this.#roundTripMs, reserve, foreign: this.#foreign },
    };
    this.#state = control(this.#state, seen);
    this.#counts = { completions: 0, outputTokens: 0, rejections: 0 };
  }

  #schedule(fault: Fault): void {
    this.#timeline.after(fault.fromMs, () => {
      if (fault.kind === 'half_kv') this.#model.setKvShare(0.5);
      if (fault.kind === 'slow') this.#model.setSlowness(SLOWNESS);
      if (fault.kind === 'crowded') this.#foreignArrives(CROWD, fault.untilMs);
      if (fault.kind === 'dead' || fault.kind === 'aborting') this.#cutOff();
    });
    this.#timeline.after(fault.untilMs, () => {
      this.#model.setKvShare(1);
      this.#model.setSlowness(1);
      this.#engine.wake();
      this.#fill();
    });
  }

  /** Everything that is at the engine ends without an answer, and is tried again. */
  #cutOff(): void {
    for (const [id, unit] of this.#flights) {
      this.#engine.abort(id);
      this.#queue.pushRetry(unit);
    }
    this.#flights.clear();
    this.#fill();
  }

  #foreignArrives(load: ForeignLoad, untilMs: number): void {
    this.#timeline.after((-Math.log(1 - this.#random()) * 1_000) / load.perSecond, () => {
      if (this.#over || this.#timeline.nowMs >= untilMs) return;
      this.#attempts += 1;
      this.#foreign += 1;
      const { promptTokens, outputTokens } = load;
      this.#engine.submit({ id: `foreign-${this.#attempts}`, promptTokens, outputTokens });
      this.#foreignArrives(load, untilMs);
    });
  }
}
