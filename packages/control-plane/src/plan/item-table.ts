/** Depths of the prompt at which an item has a key. */
export const PREFIX_LEVELS = 5;

/** The model of each item, two bytes each. */
export class ItemModels {
  readonly #numbers: Uint16Array;
  readonly #names: string[] = [];
  readonly #known = new Map<string, number>();

  constructor(length: number) {
    this.#numbers = new Uint16Array(length);
  }

  /** Models in order of appearance. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** The item's model as a number in order of appearance. */
  numberOf(index: number): number {
    return this.#numbers[index] ?? 0;
  }

  of(index: number): string {
    return this.#names[this.numberOf(index)] ?? '';
  }

  set(index: number, model: string): void {
    let number = this.#known.get(model);
    if (number === undefined) {
      number = this.#names.length;
      this.#names.push(model);
      this.#known.set(model, number);
    }
    this.#numbers[index] = number;
  }
}

/** What the planner knows of a job's items: 34 bytes each, so that a million of them are 34 MB. */
export class ItemTable {
  readonly length: number;
  /** `PREFIX_LEVELS` keys for each item, outermost first; 0 behind the last one. */
  readonly keys: Uint32Array;
  /** Bytes of prompt behind the first key; 0 without one. */
  readonly depths: Uint32Array;
  /** Bytes of the line. */
  readonly bytes: Uint32Array;
  /** Tokens that the answer is expected to have. */
  readonly outputs: Uint32Array;
  readonly models: ItemModels;
  /** 1 for each item that will not run; `null`: all run. */
  readonly #decided: Uint8Array | null;

  constructor(length: number, decided: Uint8Array | null = null) {
    this.length = length;
    this.#decided = decided;
    this.keys = new Uint32Array(length * PREFIX_LEVELS);
    this.depths = new Uint32Array(length);
    this.bytes = new Uint32Array(length);
    this.outputs = new Uint32Array(length);
    this.models = new ItemModels(length);
  }

  /** What is never mixed: by model, and of one model what runs before what does not. */
  lotOf(index: number): number {
    return 2 * this.models.numberOf(index) + (this.#decided?.[index] ?? 0);
  }

  /** The keys of one item, to be written. */
  keysOf(index: number): Uint32Array {
    return this.keys.subarray(index * PREFIX_LEVELS, (index + 1) * PREFIX_LEVELS);
  }

  /** How many levels two items share, from the outermost. */
  sharedLevels(left: number, right: number): number {
    const { keys } = this;
    const leftBase = left * PREFIX_LEVELS;
    const rightBase = right * PREFIX_LEVELS;
    let level = 0;
    while (level < PREFIX_LEVELS) {
      const key = keys[leftBase + level] ?? 0;
      if (key === 0 || key !== keys[rightBase + level]) break;
      level += 1;
    }
    return level;
  }
}
