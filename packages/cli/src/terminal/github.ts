import { appendFile } from 'node:fs/promises';
import type { InputProblem, Job } from '@batch-infer/sdk';
import type { Io } from '../io.js';

/** What a run leaves behind in GitHub Actions: annotations, a table in the summary, outputs. Nothing elsewhere. */

const isGitHub = (io: Io): boolean => io.environment.GITHUB_ACTIONS === 'true';

/** `::error file=F,line=N::…` for every bad line. */
export function annotateProblems(io: Io, file: string, problems: readonly InputProblem[]): void {
  if (!isGitHub(io)) return;
  for (const { line, message } of problems) {
    const place = line === null ? '' : `,line=${line}`;
    io.writeWorkflowCommand(`::error file=${escapeProperty(file)}${place}::${escapeData(message)}`);
  }
}

const escapeData = (text: string): string =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
const escapeProperty = (text: string): string =>
  escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');

/** Writes the outputs `job_id`, `failed`, `success_rate` and a table of the job. */
export async function writeGitHubReport(io: Io, job: Job): Promise<void> {
  if (!isGitHub(io)) return;
  const { total, succeeded } = job.counts;
  const rate = total === 0 ? 0 : succeeded / total;
  await append(io.environment.GITHUB_OUTPUT, [
    `job_id=${job.id}`,
    `failed=${total - succeeded}`,
    `success_rate=${Number(rate.toFixed(6))}`,
  ]);
  await append(io.environment.GITHUB_STEP_SUMMARY, [
    `### batch-infer: ${job.status}`,
    '',
    '| job | items | succeeded | failed | cancelled | expired | success rate |',
    '|---|---|---|---|---|---|---|',
    `| ${job.id} | ${total} | ${succeeded} | ${job.counts.failed} | ${job.counts.cancelled} | ${job.counts.expired} | ${(rate * 100).toFixed(2)} % |`,
    '',
    ...errorTable(job),
  ]);
}

function errorTable(job: Job): string[] {
  if (job.errors.length === 0) return [];
  const cell = (text: string) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ');
  return [
    '| error | count | first item | message |',
    '|---|---|---|---|',
    ...job.errors.map(
      ({ code, count, sample, message }) =>
        `| ${code} | ${count} | ${cell(sample.customId)} | ${cell(message)} |`,
    ),
    '',
  ];
}

async function append(path: string | undefined, lines: readonly string[]): Promise<void> {
  if (path !== undefined && path !== '') await appendFile(path, `${lines.join('\n')}\n`);
}
