import { isTerminal } from '@batch-infer/contracts';
import type { Job as WireJob } from '@batch-infer/contracts/native';
import { delay } from './delay.js';
import { WaitTimeoutError } from './errors.js';
import type { HttpClient } from './http/http-client.js';
import { toJob, toProgress } from './mapping.js';
import type { Job, Progress, RequestOptions } from './types.js';

/** Longest single poll, in seconds. */
const LONG_POLL_SECONDS = 30;
/** Pause after a poll that was not held back although nothing had changed. */
const SHORTEST_PAUSE_MS = 500;

export interface WaitOptions {
  /** Longest wait, in milliseconds. Default: without end. */
  readonly timeoutMs?: number;
  /** Stops the waiting, never the job. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every look at the job. */
  readonly onProgress?: (progress: Progress) => void;
  /** How often to look when there is an `onProgress`, in milliseconds. Default 1,000. */
  readonly progressIntervalMs?: number;
  /** Retries of a look that failed. Default: the client's. */
  readonly maxRetries?: number;
  /** `throw` (default): a job that failed, was cancelled or expired is a `JobFailedError`. `return`: it is returned. */
  readonly onFailure?: 'throw' | 'return';
}

/** Looks at a job once; with `waitSeconds` the server answers when its status changes, or after that time. */
export async function fetchJob(
  http: HttpClient,
  jobId: string,
  options: RequestOptions & { waitSeconds?: number } = {},
): Promise<Job> {
  const { waitSeconds = 0, ...request } = options;
  const { value } = await http.json<WireJob>({
    method: 'GET',
    path: `/v1/jobs/${encodeURIComponent(jobId)}`,
    query: waitSeconds > 0 ? { wait: waitSeconds } : {},
    heldMs: waitSeconds * 1000,
    options: request,
  });
  return toJob(value);
}

/**
 * Waits for the end of a job, whatever it is. Never cancels.
 *
 * @throws WaitTimeoutError when `timeoutMs` have passed.
 */
export async function waitForEnd(http: HttpClient, jobId: string, options: WaitOptions): Promise<Job> {
  const { timeoutMs = Number.POSITIVE_INFINITY, signal, onProgress, maxRetries } = options;
  const intervalMs =
    onProgress === undefined ? LONG_POLL_SECONDS * 1000 : (options.progressIntervalMs ?? 1000);
  const deadlineMs = performance.now() + timeoutMs;
  const request = { signal, ...(maxRetries === undefined ? {} : { maxRetries }) };
  let job = await fetchJob(http, jobId, request);
  for (;;) {
    onProgress?.(toProgress(job));
    if (isTerminal(job.status)) return job;
    const remainingMs = deadlineMs - performance.now();
    if (remainingMs <= 0) throw new WaitTimeoutError(job, timeoutMs);
    job = await nextLook(http, job, { ...request, holdMs: Math.min(intervalMs, remainingMs) });
  }
}

/** Looks again when the status has changed or `holdMs` have passed, also at a server that does not hold answers. */
export async function nextLook(
  http: HttpClient,
  previous: Job,
  options: RequestOptions & { holdMs: number },
): Promise<Job> {
  const { holdMs, ...request } = options;
  const startedMs = performance.now();
  const waitSeconds = Math.min(LONG_POLL_SECONDS, Math.floor(holdMs / 1000));
  if (waitSeconds === 0) await delay(holdMs, request.signal);
  const job = await fetchJob(http, previous.id, { ...request, waitSeconds });
  const elapsedMs = performance.now() - startedMs;
  if (job.phase === previous.phase && elapsedMs < Math.min(holdMs, SHORTEST_PAUSE_MS)) {
    await delay(Math.min(holdMs, SHORTEST_PAUSE_MS) - elapsedMs, request.signal);
  }
  return job;
}
