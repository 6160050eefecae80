import { JOB_STATUSES } from '@batch-infer/contracts';
import type { Job } from '@batch-infer/sdk';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { readMetadata } from '../jobs/job-options.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { formatCount, formatTable } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'list',
  description: 'List jobs, newest first.',
  options: [
    { flag: 'status', value: 'STATUS', description: JOB_STATUSES.join(', ') },
    { flag: 'model', value: 'NAME', description: 'only jobs of this model' },
    {
      flag: 'metadata',
      value: 'KEY=VALUE',
      repeatable: true,
      description: 'only jobs with this pair (repeatable)',
    },
    {
      flag: 'created-after',
      value: 'TIME',
      description: 'only jobs made after this, such as 2026-01-31T12:00Z',
    },
    { flag: 'limit', value: 'N', description: 'how many at most', default: '20' },
    { flag: 'json', description: 'one job a line, as the API gives it' },
    { flag: 'quiet', short: 'q', description: 'ids only' },
    ...CLIENT_OPTIONS,
  ],
  run,
};

async function run({ settings, io, interrupts }: CommandContext): Promise<number> {
  const limit = settings.number('limit', { min: 1 }) ?? 20;
  const status = settings.choice('status', JOB_STATUSES);
  const model = settings.text('model');
  const client = await connect(settings);
  const jobs: Job[] = [];
  const metadata = readMetadata(settings.list('metadata'));
  const createdAfter = readTime(settings.text('created-after'));
  const filter = {
    ...(status === undefined ? {} : { status }),
    ...(model === undefined ? {} : { model }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(createdAfter === undefined ? {} : { createdAfter }),
  };
  for await (const job of client.jobs.list({
    ...filter,
    limit: Math.min(limit, 100),
    signal: interrupts.signal,
  })) {
    jobs.push(job);
    if (jobs.length >= limit) break;
  }
  if (settings.switch('json')) {
    for (const job of jobs) await io.writeOut(jsonLine(toWireJson(job)));
  } else if (settings.switch('quiet')) {
    for (const { id } of jobs) await io.writeOut(`${id}\n`);
  } else {
    await io.writeOut(
      formatTable([['JOB', 'STATUS', 'ITEMS', 'FAILED', 'MODEL', 'CREATED'], ...jobs.map(toRow)]),
    );
  }
  return EXIT.ok;
}

function readTime(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const time = new Date(text);
  if (Number.isNaN(time.getTime()))
    throw usageError(`--created-after takes a time such as 2026-01-31T12:00Z, not "${text}"`);
  return time;
}

function toRow({ id, status, counts, models, createdAt }: Job): string[] {
  const ended = counts.succeeded + counts.failed + counts.cancelled + counts.expired;
  const items = `${formatCount(ended)}/${formatCount(counts.total)}`;
  const failed = formatCount(counts.failed + counts.cancelled + counts.expired);
  return [id, status, items, failed, models.join(','), createdAt.toISOString()];
}
