import { createReadStream } from 'node:fs';
import { DEFAULT_ENDPOINT } from '@batch-infer/contracts';
import {
  findForbiddenMedia,
  JsonlScanner,
  type MediaHosts,
  type ScanSummary,
} from '@batch-infer/contracts/jsonl';
import type { InputProblem } from './errors.js';
import type { JobOptions } from './types.js';

/** The options of the later job that a line may lean on. */
export interface ValidateOptions extends Pick<JobOptions, 'endpoint' | 'model' | 'defaults'> {
  /**
   * Hosts that items may name media on, as the server's `--media-hosts`: names, with `:port` where it is not the
   * scheme's, or `'any'`. Default: none, media come as `data:` URLs only.
   */
  readonly mediaHosts?: 'any' | readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is in a file, and what is wrong with it. */
export interface FileReport {
  readonly ok: boolean;
  readonly items: number;
  readonly bytes: number;
  /** Items by model; lines without one take the job's and count under its name. */
  readonly models: Readonly<Record<string, number>>;
  /** The first 100 faults, in line order. */
  readonly errors: readonly InputProblem[];
  /** How many faults there are in all. */
  readonly errorCount: number;
}

/**
 * Checks a JSONL file offline, exactly as a server would: encoding, JSON, fields, ids, limits, and where media lie.
 * Memory does not grow with the file but for its ids.
 *
 * @throws The file system's error when the file cannot be read.
 */
export async function validateFile(path: string | URL, options: ValidateOptions = {}): Promise<FileReport> {
  const { endpoint = DEFAULT_ENDPOINT, defaults, signal } = options;
  const model = options.model ?? (typeof defaults?.model === 'string' ? defaults.model : undefined);
  const mediaHosts = hostsOf(options);
  const scanner = new JsonlScanner({
    endpoint,
    mediaHosts,
    requireComplete: true,
    ...(model === undefined ? {} : { model }),
    ...(defaults === undefined ? {} : { defaults }),
  });
  const chunks = createReadStream(path, { highWaterMark: 1024 * 1024, ...(signal ? { signal } : {}) });
  for await (const chunk of chunks) scanner.push(chunk);
  const { errors, errorCount, summary } = scanner.end();
  const ofDefaults = faultsOf(defaults, mediaHosts);
  return {
    ok: errorCount + ofDefaults.length === 0,
    items: summary.items,
    bytes: summary.bytes,
    models: modelsOf(summary, model),
    errors: [...ofDefaults, ...errors],
    errorCount: errorCount + ofDefaults.length,
  };
}

const hostsOf = ({ mediaHosts = [] }: ValidateOptions): MediaHosts =>
  mediaHosts === 'any' ? 'any' : mediaHosts.map((host) => host.toLowerCase());

/** What is merged under every body is judged by itself, as the server does: it is on no line. */
function faultsOf(defaults: ValidateOptions['defaults'], mediaHosts: MediaHosts): InputProblem[] {
  const fault = defaults === undefined ? null : findForbiddenMedia(defaults, mediaHosts, 'defaults');
  return fault === null ? [] : [{ line: null, ...fault }];
}

/** Lines without a model counted under the job's. */
function modelsOf(
  { models, linesWithoutModel }: ScanSummary,
  jobModel: string | undefined,
): Record<string, number> {
  if (jobModel === undefined || linesWithoutModel.count === 0) return models;
  return { ...models, [jobModel]: (models[jobModel] ?? 0) + linesWithoutModel.count };
}
