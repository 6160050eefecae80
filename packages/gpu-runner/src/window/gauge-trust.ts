import type { EngineGauges } from './controller.js';

/** No engine has more requests than this. */
const MOST_REQUESTS = 1_000_000;
/** Answers seen while the gauges said what cannot be, after which they are not believed. */
const CONTRADICTIONS = 64;
/** Looks after which they are given another chance. */
const DISTRUSTED_LOOKS = 120;
/** Looks at which the same number was told before it is held against our own requests: a number may lag behind. */
const STILL_LOOKS = 3;
/** Of our requests at the engine, at least this many make a 0 a contradiction. */
const OURS_MIN = 4;

/**
 * Whether an engine's gauges may be believed. Behind a balancer they are those of one of several, some servers write 0 for
 * ever, some stop writing or tell the same number for ever: then the window goes by what is answered.
 */
export class GaugeTrust {
  #answered = 0;
  #distrusted = 0;
  readonly #still = new StandstillWatch();

  /** @param inFlight our requests at the engine; `answers` since the gauges before these */
  check(gauges: EngineGauges | null, seen: { inFlight: number; answers: number }): EngineGauges | null {
    if (this.#distrusted > 0) {
      this.#distrusted -= 1;
      return null;
    }
    const still = this.#still.note(gauges, seen.inFlight);
    const impossible = gauges !== null && ((seen.inFlight >= OURS_MIN && isImpossible(gauges)) || still);
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

/** Whether gauges tell the same number again and again while it must have changed with our own requests. */
class StandstillWatch {
  #total: number | null = null;
  #looks = 0;
  #fewest = 0;
  #most = 0;

  /** True when they stand still although our requests came and went. */
  note(gauges: EngineGauges | null, inFlight: number): boolean {
    const total = gauges === null ? null : gauges.running + gauges.waiting;
    if (total === null || total !== this.#total) {
      this.#total = total;
      this.#looks = 0;
      this.#fewest = inFlight;
      this.#most = inFlight;
      return false;
    }
    this.#looks += 1;
    this.#fewest = Math.min(this.#fewest, inFlight);
    this.#most = Math.max(this.#most, inFlight);
    const moved = this.#most - this.#fewest >= Math.max(OURS_MIN, this.#most / 4);
    // An engine that is full may tell its places only, as long as there are more of ours than that.
    return this.#looks >= STILL_LOOKS && moved && total > this.#fewest;
  }
}
