import type { InputError } from '../error-codes.js';
import type { MediaHosts } from './media.js';

/** Options of a scan. A job's options are known when its file is the request body, not when a file is uploaded alone. */
export interface ScanOptions {
  /** Endpoint of lines without `url`; without it a line may lack `url` and is counted in `linesWithoutUrl`. */
  readonly endpoint?: string;
  /** Model of bodies without `model` (or `defaults.model`); without it such lines are counted in `linesWithoutModel`. */
  readonly model?: string;
  /**
   * True when the job's options are known, so that a line without `url` or `model` and without a default is an error
   * now instead of at job creation.
   */
  readonly requireComplete?: boolean;
  /** The job's `defaults`, merged under each body: a key that stands here is not missing. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /**
   * Hosts that media may be fetched from, besides `data:` URLs. Absent: nothing is judged, as where no server's settings
   * are known.
   */
  readonly mediaHosts?: MediaHosts;
  readonly maxLineBytes?: number;
  readonly maxItems?: number;
  /** What a dialect demands beyond the general rules: asked first, of lines that are JSON objects. `null`: nothing wrong. */
  readonly judge?: (line: Readonly<Record<string, unknown>>) => LineFault | null;
}

/** The first thing that is wrong with one line. */
export interface LineFault {
  readonly code: string;
  readonly param: string | null;
  readonly message: string;
}

/** A shard's place in the input file, found while the file streams by. Lines between are whole. */
export interface ShardRange {
  /** Index of its first item. */
  readonly first: number;
  readonly count: number;
  readonly offset: number;
  readonly bytes: number;
  /** Model of all its items; `null` when they take the job's. A shard never mixes models. */
  readonly model: string | null;
}

/** Lines that share something that only the job's options can judge: how many, and the first 100 line numbers. */
export interface LineGroup {
  readonly count: number;
  readonly lines: readonly number[];
}

/** What a scan knows of a whole file: stored with it, so that creating a job reads no byte of it again. */
export interface ScanSummary {
  readonly items: number;
  readonly bytes: number;
  readonly models: Readonly<Record<string, number>>;
  readonly urls: Readonly<Record<string, LineGroup>>;
  readonly linesWithoutModel: LineGroup;
  readonly linesWithoutUrl: LineGroup;
  /** Known by their index. Missing in summaries of files that were stored before it was counted. */
  readonly linesWithoutCustomId?: LineGroup;
  readonly shards: readonly ShardRange[];
  /** Missing in summaries of files that were stored before there were any. */
  readonly hints?: ScanHints;
}

/** Whether another order of the lines may be worth finding: from a sample, so that a job that cannot gain is ready at once. */
export interface ScanHints {
  /** Some lines, but not all, begin with the same KiB of prompt as others. */
  readonly sharedPrefixes: boolean;
  /** The longest limit of an answer is far above the mean. */
  readonly unequalLengths: boolean;
}

export interface ScanResult {
  /** The first 100 errors in line order; the file is good when empty. */
  readonly errors: readonly InputError[];
  /** How many errors there are in all; counting ends at `LIMITS.countedErrors`. */
  readonly errorCount: number;
  readonly summary: ScanSummary;
}
