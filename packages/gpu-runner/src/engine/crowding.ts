import type { Failure } from './classify.js';

interface Counts {
  readonly probed: number;
  readonly passed: number;
  readonly refused: number;
}

/** Others' refusals for each request that passed, up to which an item that is refused again stands alone. */
const ALONE_SHARE = 0.5;

/**
 * Want of room (429, 503, 529) on one route for one model: is the engine full, or does it say so to one item only? That
 * one would come back for ever.
 */
export class Crowding {
  #passed = 0;
  #probed = 0;
  #refused = 0;
  #sinceMs: number | null = null;
  #last: Failure | null = null;
  readonly #seen = new WeakMap<object, Counts>();

  /** Since when every request was refused; `null` while some pass. */
  get sinceMs(): number | null {
    return this.#sinceMs;
  }

  get last(): Failure | null {
    return this.#last;
  }

  passed(): void {
    this.#passed += 1;
    this.#sinceMs = null;
  }

  /** A request of our own has passed. */
  probed(): void {
    this.#probed += 1;
    this.#sinceMs = null;
  }

  /**
   * Notes a refusal. `alone`: since the item was refused before, others have passed and few were refused, or nothing but
   * our own request was sent that passed. `lonely`: it was refused before, and no other item has passed since.
   */
  refused(item: object, failure: Failure, nowMs: number): { alone: boolean; lonely: boolean } {
    const before = this.#seen.get(item);
    const passed = this.#passed - (before?.passed ?? this.#passed);
    const probed = this.#probed - (before?.probed ?? this.#probed);
    const others = this.#refused - (before?.refused ?? this.#refused);
    this.#refused += 1;
    this.#sinceMs ??= nowMs;
    this.#last = failure;
    this.#seen.set(item, { passed: this.#passed, probed: this.#probed, refused: this.#refused });
    return {
      alone: passed > 0 ? others <= ALONE_SHARE * passed : probed > 0,
      lonely: before !== undefined && passed === 0,
    };
  }
}
