import type { Job } from '@batch-infer/sdk';
import { formatCount, formatRate, formatSeconds, plural } from './format.js';
import { visible } from './visible-text.js';

/** A job for people, several lines. */
export function describeJob(job: Job, nowMs: number): string {
  const { counts, progress, usage } = job;
  const ended = counts.succeeded + counts.failed + counts.cancelled + counts.expired;
  const rows: [string, string][] = [
    ['items', joined([`${formatCount(ended)}/${formatCount(counts.total)}`, ...countParts(job)])],
    ['models', job.models.join(', ')],
    ['created', `${job.createdAt.toISOString()} (${ago(job.createdAt, nowMs)})`],
  ];
  if (job.finishedAt !== null)
    rows.push(['finished', `${job.finishedAt.toISOString()} (${ago(job.finishedAt, nowMs)})`]);
  else rows.push(['expires', job.expiresAt.toISOString()]);
  if (progress.itemsPerSecond > 0 && job.finishedAt === null) {
    const eta = progress.etaSeconds === null ? [] : [`ETA ${formatSeconds(progress.etaSeconds)}`];
    const tokens = `${formatRate(progress.outputTokensPerSecond)} tok/s`;
    rows.push(['rate', joined([`${formatRate(progress.itemsPerSecond)} items/s`, tokens, ...eta])]);
  }
  if (usage.inputTokens + usage.outputTokens > 0) rows.push(['tokens', tokenText(job)]);
  if (job.queue.position !== null) {
    const { etaSeconds } = progress;
    const eta = etaSeconds === null ? [] : [`done in about ${formatSeconds(etaSeconds)}`];
    rows.push(['queue', joined([`position ${job.queue.position}`, ...eta])]);
  }
  for (const { message } of job.queue.waitingFor) rows.push(['waiting', message]);
  for (const [key, value] of Object.entries(job.metadata)) rows.push(['metadata', `${key}=${value}`]);
  const phase = job.paused ? ' (paused)' : job.phase === job.status ? '' : ` (${job.phase})`;
  const head = `${job.id}  ${job.status}${phase}\n`;
  const body = rows.map(([name, text]) => `  ${name.padEnd(9)} ${visible(text)}\n`).join('');
  return head + body + describeFailures(job);
}

/** Failures grouped by their cause, and bad lines of a refused input; empty when there are none. */
export function describeFailures(job: Job): string {
  const groups = job.errors.map(
    ({ count, code, message, sample }) =>
      `  ${formatCount(count)} × ${visible(`${code}: ${message} (first: ${sample.customId}`)}, item ${sample.index})\n`,
  );
  const bad = job.inputErrors.map(({ line, message }) => `  ${visible(placed(line, message))}\n`);
  return [...groups, ...bad].join('');
}

/** The message with its line, unless it names it itself. */
export const placed = (line: number | null, message: string): string =>
  line === null || /^line \d/i.test(message) ? message : `line ${line}: ${message}`;

/** One line about an ended job. */
export function summaryLine(job: Job): string {
  const { counts } = job;
  const seconds =
    job.finishedAt === null
      ? null
      : (job.finishedAt.getTime() - (job.startedAt ?? job.createdAt).getTime()) / 1000;
  const time =
    seconds === null ? [] : [`${seconds < 60 ? `${seconds.toFixed(1)}s` : formatSeconds(seconds)}`];
  const rate = seconds === null || seconds <= 0 ? [] : [`${formatRate(counts.total / seconds)} items/s`];
  const tokens = job.usage.inputTokens + job.usage.outputTokens > 0 ? [tokenText(job)] : [];
  return joined([
    `${job.id} ${job.status}`,
    plural(counts.total, 'item'),
    ...countParts(job),
    ...time,
    ...rate,
    ...tokens,
  ]);
}

function countParts({ counts, status, reusedItems }: Job): string[] {
  const parts = [
    ...(status === 'running' ? [`${formatCount(counts.running)} running`] : []),
    ...(['failed', 'cancelled', 'expired'] as const).flatMap((name) =>
      counts[name] > 0 ? [`${formatCount(counts[name])} ${name}`] : [],
    ),
    ...(reusedItems > 0 ? [`${formatCount(reusedItems)} reused`] : []),
  ];
  return parts;
}

const tokenText = ({ usage }: Job): string =>
  `${formatRate(usage.inputTokens)} tokens in, ${formatRate(usage.outputTokens)} out`;

const joined = (parts: readonly string[]): string => parts.join(' · ');

const ago = (time: Date, nowMs: number): string => `${formatSeconds((nowMs - time.getTime()) / 1000)} ago`;
