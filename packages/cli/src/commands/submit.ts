import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { followJob, readFollowOptions } from '../jobs/follow.js';
import { findInput } from '../jobs/input-file.js';
import { readJobOptions } from '../jobs/job-options.js';
import { submitInput } from '../jobs/submit-input.js';
import { openChosenOutput } from '../output/open-output.js';
import { CLIENT_OPTIONS, JOB_OPTIONS, TALK_OPTIONS, WAIT_OPTIONS } from '../settings/options.js';
import { Talk } from '../terminal/talk.js';

export const command: CommandDefinition = {
  name: 'submit',
  operands: [{ name: '<file>', description: 'JSONL file, or - for standard input' }],
  description:
    'Submit a JSONL file and print the job id. The same content and options again find the same job.',
  options: [
    { flag: 'wait', description: 'wait for the end of the job' },
    ...JOB_OPTIONS,
    ...WAIT_OPTIONS,
    ...TALK_OPTIONS,
    ...CLIENT_OPTIONS,
  ],
  examples: [
    'batch-infer submit evals.jsonl --model my-model',
    'cat evals.jsonl | batch-infer submit - -o out.jsonl',
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const talk = new Talk(io, settings);
  const options = readJobOptions(settings);
  const source = await findInput(operands[0] ?? '-', io);
  await using output = await openChosenOutput(settings, io, source);
  const follow = readFollowOptions(settings, output);
  await using input = await source.open(interrupts.signal);
  const client = await connect(settings);
  const submission = await submitInput(client, input, { ...options, signal: interrupts.signal }, talk);
  if (submission.outcome === 'refused') return submission.exitCode;
  const { job } = submission;
  if (!talk.json && !output?.isStandardOutput) await io.writeOut(`${job.id}\n`);
  if (settings.switch('wait') || output !== null) return await followJob(job, follow, { talk, interrupts });
  talk.say(`next: batch-infer watch ${job.id}`);
  return EXIT.ok;
}
