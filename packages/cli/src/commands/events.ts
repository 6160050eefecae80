import type { Job, JobEvent } from '@batch-infer/sdk';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect, PATIENT_RETRIES } from '../jobs/connect.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { formatCount, formatRate } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'events',
  operands: [{ name: '<id>', description: 'the job' }],
  description:
    'Print what happens to a job, one event a line, until it has ended. Nothing is judged: see watch.',
  options: [
    { flag: 'last-event-id', value: 'ID', description: 'go on behind this event' },
    { flag: 'json', description: 'one event a line, with the job as the API gives it' },
    ...CLIENT_OPTIONS,
  ],
  examples: ["batch-infer events job_… --json | jq -r '.type'"],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const client = await connect(settings);
  const lastEventId = settings.text('last-event-id');
  const events = client.jobs.attach(operands[0] ?? '').events({
    signal: interrupts.signal,
    maxRetries: PATIENT_RETRIES,
    ...(lastEventId === undefined ? {} : { lastEventId }),
  });
  const json = settings.switch('json');
  for await (const event of events)
    await io.writeOut(json ? jsonLine(toWireJson(event)) : `${describe(event)}\n`);
  return EXIT.ok;
}

const describe = ({ type, id, job }: JobEvent): string =>
  [id, type, shownStatus(job), ...countsOf(job)].join('  ');

const shownStatus = ({ status, paused }: Job): string => (paused ? `${status} (paused)` : status);

function countsOf({ counts, progress }: Job): string[] {
  const ended = counts.succeeded + counts.failed + counts.cancelled + counts.expired;
  const rate = progress.itemsPerSecond > 0 ? [`${formatRate(progress.itemsPerSecond)} items/s`] : [];
  const failed = counts.failed > 0 ? [`${formatCount(counts.failed)} failed`] : [];
  return [`${formatCount(ended)}/${formatCount(counts.total)}`, ...failed, ...rate];
}
