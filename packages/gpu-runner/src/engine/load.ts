import type { Clock } from '../clock.js';
import {
  control,
  type EngineGauges,
  initialWindow,
  searches,
  type WindowSample,
  type WindowState,
  windowOf,
} from '../window/controller.js';
import { GaugeTrust } from '../window/gauge-trust.js';
import type { Success, Verdict } from './classify.js';

export interface WindowLimits {
  /** Requests in flight; `null`: steered. */
  readonly window: number | null;
  /** Requests that the engine runs at once; `null`: not told. */
  readonly maxSequences: number | null;
  /** Places left to traffic that is not ours. */
  readonly reserve: number;
}

/** Feeds the window of one engine: counts what is answered between two samples. */
export class EngineLoad {
  inFlight = 0;
  /** Tokens that the requests in flight are expected to cost. */
  outstandingTokens = 0;
  readonly #clock: Clock;
  readonly #limits: WindowLimits;
  #state: WindowState;
  #gauges: EngineGauges | null = null;
  #gaugesAtMs = Number.NEGATIVE_INFINITY;
  readonly #trust = new GaugeTrust();
  /** Since gauges were read last. */
  #answers = 0;
  /** Requests at the engine that were not ours. */
  #foreign = 0;
  #completions = 0;
  #outputTokens = 0;
  #rejections = 0;
  #retryAfterMs: number | null = null;
  #timeouts = 0;
  #itemTokens: number | null = null;
  #roundTripMs = 5;

  constructor(clock: Clock, limits: WindowLimits) {
    this.#clock = clock;
    this.#limits = limits;
    this.#state = initialWindow(clock.nowMs());
  }

  get window(): number {
    return this.#limits.window ?? windowOf(this.#state);
  }

  get steered(): boolean {
    return this.#limits.window === null;
  }

  /** Notes how a request ended. */
  note(verdict: Verdict): void {
    if (verdict.ok) {
      this.#completions += 1;
      this.#answers += 1;
      if (verdict.usage !== undefined) this.#measure(verdict.usage);
      if (searches(this.#state)) this.tick();
    } else if (verdict.code === 'engine_overloaded') {
      this.#rejections += 1;
      if (verdict.retryAfterMs !== null)
        this.#retryAfterMs = Math.max(this.#retryAfterMs ?? 0, verdict.retryAfterMs);
      // Refusals act at once: the requests after them would only be refused as well.
      this.tick();
    } else if (verdict.code === 'item_timeout') this.#timeouts += 1;
  }

  #measure([input, , output]: NonNullable<Success['usage']>): void {
    this.#outputTokens += output;
    this.#itemTokens = 0.95 * (this.#itemTokens ?? input + output) + 0.05 * (input + output);
  }

  /** New gauges, and how long it took to read them. */
  observe(told: EngineGauges | null, roundTripMs: number): void {
    const gauges = this.#trust.check(told, { inFlight: this.inFlight, answers: this.#answers });
    this.#answers = 0;
    this.#gauges = gauges;
    this.#gaugesAtMs = this.#clock.nowMs();
    this.#foreign = gauges === null ? 0 : Math.max(0, gauges.running + gauges.waiting - this.inFlight);
    this.#roundTripMs = 0.8 * this.#roundTripMs + 0.2 * roundTripMs;
  }

  /** The engine was away: what it said before is of no use. */
  forget(): void {
    this.#gauges = null;
    this.#gaugesAtMs = Number.NEGATIVE_INFINITY;
  }

  /** One step of the controller. */
  tick(): void {
    if (!this.steered) return;
    const sample: WindowSample = {
      nowMs: this.#clock.nowMs(),
      gauges: this.#gauges,
      gaugesAtMs: this.#gaugesAtMs,
      inFlight: this.inFlight,
      completions: this.#completions,
      outputTokens: this.#outputTokens,
      rejections: this.#rejections,
      retryAfterMs: this.#retryAfterMs,
      timeouts: this.#timeouts,
      itemTokens: this.#itemTokens,
      roundTripMs: this.#roundTripMs,
      maxSequences: this.#limits.maxSequences,
      reserve: this.#limits.reserve,
      foreign: this.#foreign,
    };
    this.#state = control(this.#state, sample);
    this.#completions = 0;
    this.#outputTokens = 0;
    this.#rejections = 0;
    this.#retryAfterMs = null;
    this.#timeouts = 0;
  }
}
