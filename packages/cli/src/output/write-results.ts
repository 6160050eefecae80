import type { JobHandle, ResultsOptions } from '@batch-infer/sdk';
import type { Io } from '../io.js';
import { toOpenAiLine } from './openai-line.js';
import type { ResultFile } from './result-file.js';

export const RESULT_FORMATS = ['native', 'openai'] as const;
export type ResultFormat = (typeof RESULT_FORMATS)[number];

export interface WriteOptions extends Omit<ResultsOptions, 'signal'> {
  readonly format: ResultFormat;
  readonly signal: AbortSignal;
}

/** Copies a job's results into a file, going on behind what an interrupted copy left. Resolves to its lines. */
export async function saveResults(job: JobHandle, file: ResultFile, options: WriteOptions): Promise<number> {
  const { format, ...read } = options;
  const isPlain =
    read.status === undefined && (read.order ?? 'input') === 'input' && read.after === undefined;
  // Only the plain copy has a line for every index, so that its length says where to go on.
  const key = isPlain
    ? format
    : `${format}:${JSON.stringify([read.order, read.status, read.after, Date.now()])}`;
  let count = await file.begin(job.id, key);
  const after = isPlain && count > 0 ? { after: count - 1 } : {};
  for await (const line of job.lines({ ...read, ...after })) {
    await file.writeLine(format === 'native' ? line.text : toOpenAiLine(job.id, line));
    count += 1;
  }
  await file.finish();
  return count;
}

/** Prints a job's results. Resolves to how many. */
export async function printResults(job: JobHandle, io: Io, options: WriteOptions): Promise<number> {
  const { format, ...read } = options;
  let count = 0;
  let text = '';
  for await (const line of job.lines(read)) {
    text += `${format === 'native' ? line.text : toOpenAiLine(job.id, line)}\n`;
    count += 1;
    if (text.length >= 65_536) {
      await io.writeOut(text);
      text = '';
    }
  }
  if (text !== '') await io.writeOut(text);
  return count;
}
