import type { Job, JobHandle } from '@batch-infer/sdk';
import { EXIT } from '../exit-codes.js';
import { Interrupt, type Interrupts } from '../interrupts.js';
import type { ResultOutput } from '../output/result-output.js';
import { RESULT_FORMATS, type ResultFormat, writeResults } from '../output/write-results.js';
import type { Settings } from '../settings/settings.js';
import { describeFailures, summaryLine } from '../terminal/describe-job.js';
import { formatSeconds, plural } from '../terminal/format.js';
import { writeGitHubReport } from '../terminal/github.js';
import { openProgressView } from '../terminal/progress.js';
import type { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';
import { PATIENT_RETRIES } from './connect.js';
import { exitCodeOf, readTolerance, type Tolerance } from './outcome.js';

/** Time for the cancel call of `--cancel-on-interrupt`. */
const CANCEL_TIMEOUT_MS = 5_000;

/** How to wait for a job and what to do at its end. */
export interface FollowOptions {
  readonly tolerance: Tolerance;
  readonly timeoutMs: number | undefined;
  readonly format: ResultFormat;
  readonly cancelOnInterrupt: boolean;
  /** Where the results go; `null`: nowhere. */
  readonly output: ResultOutput | null;
  /** Says how to come back to the job after leaving it. */
  readonly resumeHint: (job: JobHandle) => string;
}

/** Reads the flags of WAIT_OPTIONS. */
export function readFollowOptions(
  settings: Settings,
  output: FollowOptions['output'],
  resumeHint: FollowOptions['resumeHint'] = ({ id }) => `batch-infer watch ${id}${outputFlag(output)}`,
): FollowOptions {
  return {
    tolerance: readTolerance(settings),
    timeoutMs: settings.durationMs('timeout'),
    format: settings.choice('format', RESULT_FORMATS) ?? 'native',
    cancelOnInterrupt: settings.switch('cancel-on-interrupt'),
    output,
    resumeHint,
  };
}

const outputFlag = (output: FollowOptions['output']): string =>
  output === null || output.isStandardOutput ? '' : ` -o ${output.name}`;

/** Waits for a job with progress, writes its results, says how it ended; resolves to the exit code. */
export async function followJob(
  job: JobHandle,
  options: FollowOptions,
  { talk, interrupts }: { talk: Talk; interrupts: Interrupts },
): Promise<number> {
  try {
    const ended = await waitWithProgress(job, options, { talk, interrupts });
    if (ended === null) return EXIT.stillRunning;
    if (ended.inputErrors.length === 0) await deliver(job, options, { talk, signal: interrupts.signal });
    return await conclude(ended, options, talk);
  } catch (error) {
    if (!(error instanceof Interrupt)) throw error;
    await leave(job, options, talk);
    return error.exitCode;
  }
}

/** `null` when the time is over. */
async function waitWithProgress(
  job: JobHandle,
  { timeoutMs, resumeHint }: FollowOptions,
  { talk, interrupts }: { talk: Talk; interrupts: Interrupts },
): Promise<Job | null> {
  const { WaitTimeoutError } = await import('@batch-infer/sdk');
  const view = await openProgressView(talk);
  try {
    return await job.wait({
      onFailure: 'return',
      maxRetries: PATIENT_RETRIES,
      signal: interrupts.signal,
      onProgress: (progress) => view.update(progress),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  } catch (error) {
    if (!(error instanceof WaitTimeoutError)) throw error;
    view.stop();
    talk.warn(
      `${job.id} is still ${error.job.status} after ${formatSeconds((timeoutMs ?? 0) / 1000)}; it goes on`,
    );
    talk.warn(`next: ${resumeHint(job)}`);
    await talk.event('timeout', { job_id: job.id, status: error.job.status });
    return null;
  } finally {
    view.stop();
  }
}

async function deliver(
  job: JobHandle,
  { output, format }: FollowOptions,
  { talk, signal }: { talk: Talk; signal: AbortSignal },
): Promise<void> {
  if (output === null) return;
  const read = { format, signal, maxRetries: PATIENT_RETRIES };
  const lines = await writeResults(job, output, read);
  if (output.isStandardOutput) return;
  talk.say(`${plural(lines, 'line')} in ${output.name}`);
  await talk.event('results', { job_id: job.id, path: output.path, lines });
}

async function conclude(job: Job, { tolerance }: FollowOptions, talk: Talk): Promise<number> {
  talk.say(summaryLine(job));
  const failures = describeFailures(job);
  if (failures !== '') talk.say(failures.trimEnd());
  const exitCode = exitCodeOf(job, tolerance);
  if (job.counts.total > job.counts.succeeded && job.inputErrors.length === 0) {
    talk.say(`next: batch-infer errors ${job.id}   or run them again: batch-infer retry --failed ${job.id}`);
  }
  await writeGitHubReport(talk.io, job);
  await talk.event('ended', { job_id: job.id, exit_code: exitCode, job: toWireJson(job) });
  return exitCode;
}

/** Detaches: the job stays, unless it was asked to be cancelled. */
async function leave(job: JobHandle, options: FollowOptions, talk: Talk): Promise<void> {
  if (options.cancelOnInterrupt) {
    const signal = AbortSignal.timeout(CANCEL_TIMEOUT_MS);
    const cancelled = await job.cancel({ signal }).then(
      () => true,
      () => false,
    );
    const word = cancelled
      ? 'is being cancelled'
      : `could not be cancelled; try: batch-infer cancel ${job.id}`;
    talk.warn(`${job.id} ${word}`);
  } else {
    talk.warn(`${job.id} goes on without this command`);
    talk.warn(`  to come back:  ${options.resumeHint(job)}`);
    talk.warn(`  to stop it:    batch-infer cancel ${job.id}`);
  }
  await talk.event('detached', { job_id: job.id, cancelled: options.cancelOnInterrupt });
}
