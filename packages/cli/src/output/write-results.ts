import { openAiLine, readNativeLine } from '@batch-infer/contracts';
import type { JobHandle, ResultsOptions } from '@batch-infer/sdk';
import type { ResultOutput } from './result-output.js';

export const RESULT_FORMATS = ['native', 'openai'] as const;
export type ResultFormat = (typeof RESULT_FORMATS)[number];

export interface WriteOptions extends Omit<ResultsOptions, 'signal'> {
  readonly format: ResultFormat;
  readonly signal: AbortSignal;
}

/** Copies a job's results to an output, going on behind what an interrupted copy left. Resolves to its lines. */
export async function writeResults(
  job: JobHandle,
  output: ResultOutput,
  options: WriteOptions,
): Promise<number> {
  const { format, ...read } = options;
  const isPlain =
    read.status === undefined && (read.order ?? 'input') === 'input' && read.after === undefined;
  // Only the plain copy has a line for every index, so that its length says where to go on.
  const form = isPlain
    ? format
    : `${format}:${JSON.stringify([read.order, read.status, read.after, Date.now()])}`;
  let count = await output.begin({ job_id: job.id, format: form }, options.signal);
  const after = isPlain && count > 0 ? { after: count - 1 } : {};
  for await (const line of job.lines({ ...read, ...after })) {
    await output.writeLine(format === 'native' ? line.text : toOpenAiText(job.id, line.text));
    count += 1;
  }
  await output.finish();
  return count;
}

/** The same line as in the server's output or error file, without its line break. */
const toOpenAiText = (jobId: string, text: string): string =>
  openAiLine(jobId, readNativeLine(text)).pieces.join('').trimEnd();
