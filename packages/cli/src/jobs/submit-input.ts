import type { BatchInfer, JobHandle, SubmitFileOptions } from '@batch-infer/sdk';
import { plural } from '../terminal/format.js';
import type { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';
import type { InputFile } from './input-file.js';
import { reportRefusedInput } from './refused-input.js';

/** A job, or the exit code with which the input was refused. */
export type Submission =
  | { readonly outcome: 'accepted'; readonly job: JobHandle }
  | { readonly outcome: 'refused'; readonly exitCode: number };

/** Hashes and sends a file, and says what came of it. The same content with the same options finds its first job. */
export async function submitInput(
  client: BatchInfer,
  input: InputFile,
  options: SubmitFileOptions,
  talk: Talk,
): Promise<Submission> {
  const { BadRequestError } = await import('@batch-infer/sdk');
  try {
    const job = await client.jobs.submitFile(input.path, options);
    await announce(job, talk);
    return { outcome: 'accepted', job };
  } catch (error) {
    if (!(error instanceof BadRequestError) || error.errors.length === 0) throw error;
    const lines = error.errors.filter(({ line }) => line !== null);
    if (lines.length === 0) throw error;
    // The server names at most 100; its sentence says how many more there are.
    const more = Number(/\(\+(\d+) more\)/.exec(error.message)?.[1] ?? 0);
    const exitCode = await reportRefusedInput(
      talk,
      input.name,
      error.errors,
      Math.max(more + 1, error.errors.length),
    );
    return { outcome: 'refused', exitCode };
  }
}

async function announce(job: JobHandle, talk: Talk): Promise<void> {
  const { id, latest, replayed } = job;
  const total = latest?.counts.total ?? 0;
  if (replayed) {
    talk.say(`${id} was submitted before with the same content (${latest?.status}); --new makes another`);
  } else {
    talk.say(`${id} submitted${total > 0 ? `: ${plural(total, 'item')}` : ''}`);
  }
  await talk.event('submitted', { job_id: id, replayed, job: toWireJson(latest) });
}
