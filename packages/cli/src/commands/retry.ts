import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { followJob, readFollowOptions } from '../jobs/follow.js';
import { openChosenOutput } from '../output/open-output.js';
import { CLIENT_OPTIONS, TALK_OPTIONS, WAIT_OPTIONS } from '../settings/options.js';
import { plural } from '../terminal/format.js';
import { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';

const STATUSES = ['failed', 'expired', 'cancelled'] as const;

export const command: CommandDefinition = {
  name: 'retry',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Run items of an ended job again, under the same id. Items that succeeded keep their results.',
  options: [
    { flag: 'failed', description: 'the failed items' },
    { flag: 'expired', description: 'the expired items' },
    { flag: 'cancelled', description: 'the cancelled items' },
    { flag: 'wait', description: 'wait for the end of the job' },
    ...WAIT_OPTIONS,
    ...TALK_OPTIONS,
    ...CLIENT_OPTIONS,
  ],
  examples: ['batch-infer retry --failed job_… --wait -o results.jsonl'],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const talk = new Talk(io, settings);
  const status = STATUSES.filter((name) => settings.switch(name));
  if (status.length === 0)
    throw usageError('Say which items: --failed, --expired, --cancelled, or several of them');
  await using output = await openChosenOutput(settings, io);
  const client = await connect(settings);
  const handle = client.jobs.attach(operands[0] ?? '');
  const job = await handle.retryFailed({ status, signal: interrupts.signal });
  if (talk.quiet) await io.writeOut(`${job.id}\n`);
  talk.say(`${job.id} runs ${plural(job.counts.queued + job.counts.running, 'item')} again`);
  await talk.event('retried', { job_id: job.id, job: toWireJson(job) });
  if (!settings.switch('wait') && output === null) return EXIT.ok;
  return await followJob(handle, readFollowOptions(settings, output), { talk, interrupts });
}
