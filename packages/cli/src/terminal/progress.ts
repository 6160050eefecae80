import type { Progress } from '@batch-infer/sdk';
import type { Io } from '../io.js';
import { formatCount, formatRate, formatSeconds } from './format.js';
import type { Talk } from './talk.js';
import { visible } from './visible-text.js';

/** Away from a terminal, a line is worth printing after this time, or after this share of the items. */
const LINE_INTERVAL_MS = 30_000;
const LINE_SHARE = 0.1;

/** `1 234/5 000 · 12 failed · 8.4 items/s · 3.1k tok/s · ETA 7m`, and why nothing moves, if so. */
export function progressLine(progress: Progress, reasons = waitingReasons(progress)): string {
  const { completed, total, failed, itemsPerSecond, tokensPerSecond, etaSeconds, job } = progress;
  const parts = [`${formatCount(completed)}/${formatCount(total)}`];
  if (failed > 0) parts.push(`${formatCount(failed)} failed`);
  if (itemsPerSecond > 0) parts.push(`${formatRate(itemsPerSecond)} items/s`);
  if (tokensPerSecond > 0) parts.push(`${formatRate(tokensPerSecond)} tok/s`);
  if (etaSeconds !== null) parts.push(`ETA ${formatSeconds(etaSeconds)}`);
  return [...parts, ...reasons, ...(job.phase === 'finalizing' ? ['finishing'] : [])].join(' · ');
}

const waitingReasons = ({ job }: Progress): string[] =>
  job.status === 'queued' || job.status === 'running'
    ? job.queue.waitingFor.map(({ message }) => `waiting: ${visible(message)}`)
    : [];

/** Shows the progress of one job until it is disposed of. */
export interface ProgressView {
  update(progress: Progress): void;
  stop(): void;
}

export async function openProgressView(talk: Talk): Promise<ProgressView> {
  if (talk.json) return new EventProgress(talk);
  if (talk.quiet) return { update: () => undefined, stop: () => undefined };
  return talk.io.isTerminal ? await openLiveLine(talk.io) : new LineProgress((line) => talk.say(line));
}

/** One line that is written over and over. */
async function openLiveLine(io: Io): Promise<ProgressView> {
  const { default: ora } = await import('ora');
  const plain = Boolean(io.environment.NO_COLOR);
  // A terminal that does not know its size says 0, and the live line would never fit.
  if (!process.stderr.columns) process.stderr.columns = 80;
  const spinner = ora({
    stream: process.stderr,
    color: plain ? false : 'cyan',
    discardStdin: false,
    text: 'waiting',
  });
  spinner.start();
  return {
    update: (progress) => {
      spinner.text = progressLine(progress);
    },
    stop: () => {
      spinner.stop();
    },
  };
}

/** A line every 30 seconds or 10 %, and whenever the reason for waiting changes. */
export class LineProgress implements ProgressView {
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  #lastMs = Number.NEGATIVE_INFINITY;
  #lastShare = 0;
  #lastReason = '';
  /** Of the last look: a reason is worth a line when it stays. */
  #seenReason = '';

  constructor(write: (line: string) => void, now: () => number = () => performance.now()) {
    this.#write = write;
    this.#now = now;
  }

  update(progress: Progress): void {
    const share = progress.total === 0 ? 0 : progress.completed / progress.total;
    const reasons = waitingReasons(progress);
    const reason = reasons.join() === this.#seenReason ? reasons.join() : '';
    this.#seenReason = reasons.join();
    const due =
      this.#now() - this.#lastMs >= LINE_INTERVAL_MS ||
      share - this.#lastShare >= LINE_SHARE ||
      (reason !== '' && reason !== this.#lastReason);
    if (!due) return;
    this.#lastMs = this.#now();
    this.#lastShare = share;
    this.#lastReason = reason;
    this.#write(progressLine(progress, reason === '' ? [] : reasons));
  }

  stop(): void {}
}

/** An event for every change. */
class EventProgress implements ProgressView {
  readonly #talk: Talk;
  #last = '';

  constructor(talk: Talk) {
    this.#talk = talk;
  }

  update(progress: Progress): void {
    const fields = {
      job_id: progress.job.id,
      status: progress.job.status,
      completed: progress.completed,
      failed: progress.failed,
      total: progress.total,
      items_per_second: progress.itemsPerSecond,
      tokens_per_second: progress.tokensPerSecond,
      eta_seconds: progress.etaSeconds,
      waiting_for: progress.job.queue.waitingFor,
    };
    const text = JSON.stringify(fields);
    if (text === this.#last) return;
    this.#last = text;
    void this.#talk.event('progress', fields);
  }

  stop(): void {}
}
