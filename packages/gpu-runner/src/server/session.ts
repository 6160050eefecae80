import { type RunnerReport, type SessionEvent, sessionEvent } from '@batch-infer/contracts/runner-protocol';
import { type Clock, sleep } from '../clock.js';
import { RunnerError } from '../errors.js';
import { type RunnerLogger, reasonOf } from '../logger.js';
import { LineSplitter } from '../work/line-splitter.js';
import { ServerError } from './client.js';

export type Welcome = Extract<SessionEvent, { type: 'welcome' }>;
export type StopEvent = Extract<SessionEvent, { type: 'stop' }>;

export interface SessionOptions {
  readonly serverUrl: string;
  readonly open: (report: RunnerReport, signal: AbortSignal) => Promise<AsyncIterable<Buffer>>;
  readonly report: () => RunnerReport;
  readonly onWelcome: (welcome: Welcome) => void;
  readonly onStop: (stop: StopEvent) => void;
  /** The session has been broken for `AWAY_MS`; `onWelcome` says when there is one again. */
  readonly onAway: () => void;
  readonly clock: Clock;
  readonly logger: RunnerLogger;
  readonly random: () => number;
  readonly signal: AbortSignal;
}

const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 2_000;
/** Longer than a restart of the control plane takes. */
export const AWAY_MS = 5_000;
/** The longest wait before that: work stands still until the session is back. */
const RESTART_BACKOFF_MS = 500;
/** A session that says nothing for so long is taken for dead. */
const SILENCE_MS = 60_000;

/**
 * Keeps a session open until the signal aborts: opens it again, with jitter, whenever it breaks.
 * @throws {RunnerError} when the control plane refuses for good (key, protocol version, not a batch-infer server).
 */
export async function runSession(options: SessionOptions): Promise<void> {
  const { clock, logger, signal } = options;
  let failures = 0;
  let wasWelcome = false;
  let cancelAway: (() => void) | null = null;
  let brokenAtMs = clock.nowMs();
  signal.addEventListener('abort', () => cancelAway?.(), { once: true });
  while (!signal.aborted) {
    try {
      await followSession(options, () => {
        cancelAway?.();
        cancelAway = null;
        if (failures > 0) logger.info({ server: options.serverUrl }, 'the control plane is back');
        failures = 0;
        wasWelcome = true;
      });
    } catch (error) {
      if (signal.aborted) return;
      const fatal = refusedForGood(options.serverUrl, error, wasWelcome);
      if (fatal !== null) throw fatal;
      if (failures === 0) {
        logger.warn(
          { server: options.serverUrl, reason: reasonOf(error) },
          `no session with the control plane at ${options.serverUrl} (${reasonOf(error)}); trying again`,
        );
      }
    }
    if (cancelAway === null) {
      brokenAtMs = clock.nowMs();
      cancelAway = clock.after(AWAY_MS, options.onAway);
    }
    const longestMs = clock.nowMs() - brokenAtMs < AWAY_MS ? RESTART_BACKOFF_MS : LAST_BACKOFF_MS;
    const capMs = Math.min(longestMs, FIRST_BACKOFF_MS * 2 ** failures);
    failures += 1;
    await sleep(clock, capMs / 2 + (options.random() * capMs) / 2, signal);
  }
}

async function followSession(options: SessionOptions, onAlive: () => void): Promise<void> {
  const silence = new AbortController();
  const signal = AbortSignal.any([options.signal, silence.signal]);
  const rearm = () =>
    options.clock.after(SILENCE_MS, () => silence.abort(new Error('the session fell silent')));
  let cancel = rearm();
  try {
    const stream = await options.open(options.report(), signal);
    const splitter = new LineSplitter();
    for await (const chunk of stream) {
      cancel();
      cancel = rearm();
      for (const line of splitter.push(chunk)) {
        const event = sessionEvent.safeParse(JSON.parse(line.toString()));
        // An event that this version does not know is for newer runners.
        if (!event.success) continue;
        if (event.data.type === 'welcome') {
          onAlive();
          options.onWelcome(event.data);
        } else if (event.data.type === 'stop') options.onStop(event.data);
      }
    }
  } finally {
    cancel();
  }
}

function refusedForGood(serverUrl: string, error: unknown, wasWelcome: boolean): RunnerError | null {
  if (!(error instanceof ServerError)) return error instanceof RunnerError ? error : null;
  if (error.status === 401 || error.status === 403) {
    const next = 'give a key of the control plane with --api-key or BATCH_INFER_API_KEY';
    return new RunnerError(
      'unauthorized',
      wasWelcome
        ? `${serverUrl} no longer takes the runner's API key: the key was revoked or has expired (${error.message}): ${next}`
        : `${serverUrl} refused the runner (${error.message}): ${next}`,
      error,
    );
  }
  if (error.code === 'protocol_mismatch') {
    return new RunnerError(
      'protocol_mismatch',
      `${error.message}: install the same version on both sides`,
      error,
    );
  }
  if (error.status === 404 || error.status === 405) {
    const next = 'is --server the address that `batch-infer serve` printed?';
    return new RunnerError('not_a_server', `${serverUrl} is not a batch-infer control plane: ${next}`, error);
  }
  return null;
}
