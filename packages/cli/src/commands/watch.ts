import type { CommandContext, CommandDefinition } from '../command.js';
import { connect } from '../jobs/connect.js';
import { followJob, readFollowOptions } from '../jobs/follow.js';
import { openChosenOutput } from '../output/open-output.js';
import { CLIENT_OPTIONS, TALK_OPTIONS, WAIT_OPTIONS } from '../settings/options.js';
import { Talk } from '../terminal/talk.js';

export const command: CommandDefinition = {
  name: 'watch',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Wait for a job, with progress; the exit code says how it ended.',
  options: [...WAIT_OPTIONS, ...TALK_OPTIONS, ...CLIENT_OPTIONS],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const talk = new Talk(io, settings);
  await using output = await openChosenOutput(settings, io);
  const client = await connect(settings);
  const job = client.jobs.attach(operands[0] ?? '');
  // The first look is quick to fail: a wrong id or server should not be waited for.
  await job.refresh({ signal: interrupts.signal });
  return await followJob(job, readFollowOptions(settings, output), { talk, interrupts });
}
