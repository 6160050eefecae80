/**
 * The KV memory of an engine, in blocks, as vLLM keeps it: blocks are counted by reference, a released block keeps
 * its content until it is taken again, and the block released longest ago is taken first.
 */
export class BlockPool {
  readonly totalBlocks: number;
  readonly #references: Int32Array;
  /** Hash under which the block is found, or 0. */
  readonly #hashes: Float64Array;
  readonly #byHash = new Map<number, number>();
  /** Free blocks as a ring through a sentinel at `totalBlocks`: oldest after the sentinel, newest before it. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #free: number;
  #withheld = 0;

  constructor(totalBlocks: number) {
    this.totalBlocks = totalBlocks;
    this.#references = new Int32Array(totalBlocks);
    this.#hashes = new Float64Array(totalBlocks);
    this.#next = new Int32Array(totalBlocks + 1);
    this.#previous = new Int32Array(totalBlocks + 1);
    for (let block = 0; block <= totalBlocks; block += 1) {
      this.#next[block] = block === totalBlocks ? 0 : block + 1;
      this.#previous[block] = block === 0 ? totalBlocks : block - 1;
    }
    this.#free = totalBlocks;
  }

  /** Blocks that may be taken now. Below zero while more is withheld than is free. */
  get freeBlocks(): number {
    return this.#free - this.#withheld;
  }

  get usedBlocks(): number {
    return this.totalBlocks - this.#free;
  }

  /** Takes blocks out of service, as when KV memory shrinks. Blocks in use stay; the pool is short until they end. */
  withhold(blocks: number): void {
    this.#withheld = blocks;
  }

  /** How many of the leading `hashes` are cached, and how many of those blocks lie in the free list. */
  match(hashes: readonly number[], limit: number): { readonly cached: number; readonly cachedFree: number } {
    let cached = 0;
    let cachedFree = 0;
    while (cached < limit && cached < hashes.length) {
      const block = this.#byHash.get(hashes[cached] ?? 0);
      if (block === undefined) break;
      if (this.#references[block] === 0) cachedFree += 1;
      cached += 1;
    }
    return { cached, cachedFree };
  }

  /** Takes a reference on a block that `match` found. */
  share(hash: number): number {
    const block = this.#byHash.get(hash);
    if (block === undefined) throw new RangeError('share() of a block that is not cached');
    if (this.#references[block] === 0) this.#unlink(block);
    this.#references[block] = (this.#references[block] ?? 0) + 1;
    return block;
  }

  /** Takes the block released longest ago; whatever it held is forgotten. The caller has checked `freeBlocks`. */
  take(): number {
    const block = this.#next[this.totalBlocks] ?? this.totalBlocks;
    if (block === this.totalBlocks) throw new RangeError('take() from an empty pool');
    this.#unlink(block);
    const hash = this.#hashes[block] ?? 0;
    if (hash !== 0) {
      this.#byHash.delete(hash);
      this.#hashes[block] = 0;
    }
    this.#references[block] = 1;
    return block;
  }

  /** Makes a full block findable. A second block of the same content stays private, the first one is kept. */
  publish(block: number, hash: number): void {
    if (this.#byHash.has(hash)) return;
    this.#byHash.set(hash, block);
    this.#hashes[block] = hash;
  }

  /** Gives blocks of one sequence back, last block first, so that the tail of a prompt is forgotten before its head. */
  release(blocks: readonly number[]): void {
    for (let index = blocks.length - 1; index >= 0; index -= 1) {
      const block = blocks[index] ?? 0;
      const references = (this.#references[block] ?? 0) - 1;
      this.#references[block] = references;
      if (references === 0) this.#append(block);
    }
  }

  #unlink(block: number): void {
    const before = this.#previous[block] ?? 0;
    const after = this.#next[block] ?? 0;
    this.#next[before] = after;
    this.#previous[after] = before;
    this.#free -= 1;
  }

  #append(block: number): void {
    const sentinel = this.totalBlocks;
    const newest = this.#previous[sentinel] ?? sentinel;
    this.#next[newest] = block;
    this.#previous[block] = newest;
    this.#next[block] = sentinel;
    this.#previous[sentinel] = block;
    this.#free += 1;
  }
}
