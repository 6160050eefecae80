import type { ScanHints } from './types.js';

/** Lines looked at more closely, about: each line counts as soon as twice so many were taken, half of them are dropped. */
const SAMPLES = 512;
const BLOCK_CHARS = 1_024;
const LEVELS = 24;
/** Samples that share the beginning of their prompt with another, so that it is no accident. */
const LEAST_SHARING = 4;
/** The longest limit of an answer by the mean. */
const LEAST_SPREAD = 2;
const DEFAULT_OUTPUT = 256;

type Fields = Readonly<Record<string, unknown>>;

interface Sample {
  readonly rank: number;
  /** Hashes of the prompt's beginnings, one for each KiB and each message behind the first KiB. */
  readonly levels: readonly number[];
}

/**
 * Says whether another order of a file's lines may be worth finding, from a sample of its lines. Costs nearly nothing:
 * only the limits of answers are read of every line.
 */
export class PlanSampler {
  #samples: Sample[] = [];
  /** Lines whose rank is below it are sampled. */
  #threshold = 2 ** 32;
  #items = 0;
  #outputSum = 0;
  #longestOutput = 0;

  see(index: number, body: Fields): void {
    const limit = body.max_completion_tokens ?? body.max_tokens ?? body.max_output_tokens;
    const output = typeof limit === 'number' && limit > 0 ? limit : DEFAULT_OUTPUT;
    this.#items += 1;
    this.#outputSum += output;
    this.#longestOutput = Math.max(this.#longestOutput, output);
    // Scattered, so that lines that take turns do not hide behind the step of the sample.
    const rank = Math.imul(index + 1, 0x9e3779b1) >>> 0;
    if (rank >= this.#threshold) return;
    this.#samples.push({ rank, levels: levelsOf(body) });
    if (this.#samples.length < 2 * SAMPLES) return;
    this.#threshold /= 2;
    this.#samples = this.#samples.filter((sample) => sample.rank < this.#threshold);
  }

  hints(): ScanHints {
    const mean = this.#outputSum / Math.max(1, this.#items);
    return {
      sharedPrefixes: this.#sharesPrefixes(),
      unequalLengths: mean > 0 && this.#longestOutput >= LEAST_SPREAD * mean,
    };
  }

  /** At some depth there are several beginnings, and some are shared: one that all share needs no order. */
  #sharesPrefixes(): boolean {
    for (let level = 0; level < LEVELS; level += 1) {
      const counts = new Map<number, number>();
      for (const { levels } of this.#samples) {
        const key = levels[level];
        if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      let sharing = 0;
      for (const count of counts.values()) if (count > 1) sharing += count;
      if (counts.size > 1 && sharing >= LEAST_SHARING) return true;
      if (counts.size === 0) return false;
    }
    return false;
  }
}

function levelsOf(body: Fields): number[] {
  const levels: number[] = [];
  let hash = 0;
  let depth = 0;
  for (const piece of piecesOf(body)) {
    const text = typeof piece === 'string' ? piece : JSON.stringify(piece);
    for (let at = 0; at < text.length; at += BLOCK_CHARS) {
      const end = Math.min(text.length, at + BLOCK_CHARS);
      hash = hashText(hash, text, at, end);
      depth += end - at;
      if (depth >= BLOCK_CHARS) levels.push(hash);
      if (levels.length >= LEVELS) return levels;
    }
  }
  return levels;
}

/** What stands in the prompt, in the order in which templates write it. */
function* piecesOf(body: Fields): Generator<unknown> {
  for (const piece of [body.tools, body.system, body.instructions]) if (piece !== undefined) yield piece;
  const prompt = body.messages ?? body.input ?? body.prompt;
  if (Array.isArray(prompt)) yield* prompt;
  else if (prompt !== undefined) yield prompt;
}

function hashText(seed: number, text: string, from: number, to: number): number {
  let hash = seed ^ 0x811c9dc5;
  for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
