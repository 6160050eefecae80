import { createReadStream } from 'node:fs';
import { JsonlScanner, type ScanSummary } from '@batch-infer/contracts/jsonl';
import type { InputProblem } from './errors.js';
import type { JobOptions } from './types.js';

/** The options of the later job that a line may lean on. */
export interface ValidateOptions extends Pick<JobOptions, 'endpoint' | 'model' | 'defaults'> {
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
 * Checks a JSONL file offline, exactly as a server would: encoding, JSON, fields, ids, limits. Memory does not grow with
 * the file but for its ids.
 *
 * @throws The file system's error when the file cannot be read.
 */
export async function validateFile(path: string | URL, options: ValidateOptions = {}): Promise<FileReport> {
  const { endpoint = '/v1/chat/completions', model, defaults, signal } = options;
  const scanner = new JsonlScanner({
    endpoint,
    requireComplete: true,
    ...(model === undefined ? {} : { model }),
    ...(defaults === undefined ? {} : { defaults }),
  });
  const chunks = createReadStream(path, { highWaterMark: 1024 * 1024, ...(signal ? { signal } : {}) });
  for await (const chunk of chunks) scanner.push(chunk);
  const { errors, errorCount, summary } = scanner.end();
  return {
    ok: errorCount === 0,
    items: summary.items,
    bytes: summary.bytes,
    models: modelsOf(summary, model ?? defaults?.model),
    errors,
    errorCount,
  };
}

/** Lines without a model counted under the job's. */
function modelsOf({ models, linesWithoutModel }: ScanSummary, jobModel: unknown): Record<string, number> {
  if (typeof jobModel !== 'string' || linesWithoutModel.count === 0) return models;
  return { ...models, [jobModel]: (models[jobModel] ?? 0) + linesWithoutModel.count };
}
