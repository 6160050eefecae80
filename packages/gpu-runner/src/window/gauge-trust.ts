import type { EngineGauges } from './controller.js';

/** No engine has more requests than this. */
const MOST_REQUESTS = 1_000_000;
/** Answers seen while the gauges said what cannot be, after which they are not believed. */
const CONTRADICTIONS = 64;
/** Looks after which they are given another chance. */
const DISTRUSTED_LOOKS = 120;
/** Of our requests at the engine, at least this many make a 0 a contradiction. */
const OURS_MIN = 4;

/**
 * Whether an engine's gauges may be believed. Behind a balancer they are those of one of several, some servers write 0 for
 * ever, some stop writing: then the window goes by what is answered.
 */
export class GaugeTrust {
  #answered = 0;
  #distrusted = 0;

  /** @param inFlight our requests at the engine; `answers` since the gauges before these */
  check(gauges: EngineGauges | null, seen: { inFlight: number; answers: number }): EngineGauges | null {
    if (this.#distrusted > 0) {
      this.#distrusted -= 1;
      return null;
    }
    const impossible = gauges !== null && seen.inFlight >= OURS_MIN && isImpossible(gauges);
    this.#answered = impossible ? this.#answered + seen.answers : 0;
    if (this.#answered < CONTRADICTIONS) return gauges;
    this.#answered = 0;
    this.#distrusted = DISTRUSTED_LOOKS;
    return null;
  }
}

/** Nothing runs, or an odd number does, while ours are answered. */
function isImpossible({ running, waiting }: EngineGauges): boolean {
  return running + waiting === 0 || running < 0 || waiting < 0 || running + waiting > MOST_REQUESTS;
}
