import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { connect } from '../jobs/connect.js';
import { type FollowOptions, followJob, readFollowOptions } from '../jobs/follow.js';
import { findInput, type InputFile } from '../jobs/input-file.js';
import { readJobOptions } from '../jobs/job-options.js';
import { submitInput } from '../jobs/submit-input.js';
import { openOutput } from '../output/open-output.js';
import {
  CLIENT_OPTIONS,
  DATA_OPTIONS,
  ENGINE_OPTIONS,
  JOB_OPTIONS,
  TALK_OPTIONS,
  WAIT_OPTIONS,
} from '../settings/options.js';
import { MEDIA_OPTIONS } from '../settings/server-options.js';
import { Talk } from '../terminal/talk.js';

export const command: CommandDefinition = {
  name: 'run',
  operands: [{ name: '<file>', description: 'JSONL file, or - for standard input' }],
  description:
    'Submit a JSONL file, wait for its job, and write one result line an item in input order. Run it again after an interruption: it goes on with the same job.',
  options: [
    ...WAIT_OPTIONS,
    ...JOB_OPTIONS,
    ...TALK_OPTIONS,
    ...CLIENT_OPTIONS,
    { flag: 'local', description: 'start server and runner for this one run' },
    ...ENGINE_OPTIONS,
    ...DATA_OPTIONS,
    ...MEDIA_OPTIONS,
    { flag: 'verbose', description: 'with --local: show what server and runner say' },
  ],
  examples: [
    'batch-infer run evals.jsonl -o results.jsonl',
    'batch-infer run evals.jsonl -o results.jsonl --local --engine-url http://127.0.0.1:8000',
    'batch-infer run evals.jsonl -o results.jsonl --local --launch "vllm serve MODEL --port 8000"',
  ],
  run,
};

async function run(context: CommandContext): Promise<number> {
  const { operands, settings, io, interrupts } = context;
  const talk = new Talk(io, settings);
  const options = readJobOptions(settings);
  const source = await findInput(operands[0] ?? '-', io);
  await using output = await openOutput(settings.text('output') ?? '-', io, source);
  if (talk.json && output.isStandardOutput)
    throw usageError('--json needs -o FILE: both would write to stdout');
  await using input = await source.open(interrupts.signal);
  if (settings.switch('local')) {
    const { runLocally } = await import('../local/run-locally.js');
    return await runLocally({ context, talk, options, output, input });
  }
  const follow = readFollowOptions(settings, output);
  return await submitAndFollow({ context, talk, follow, input });
}

/** The part that is the same with a server elsewhere. */
async function submitAndFollow(parts: {
  context: CommandContext;
  talk: Talk;
  follow: FollowOptions;
  input: InputFile;
}): Promise<number> {
  const { context, talk, follow, input } = parts;
  const { settings, interrupts, io } = context;
  const client = await connect(settings);
  const options = { ...readJobOptions(settings), signal: interrupts.signal };
  const submission = await submitInput(client, input, options, talk);
  if (submission.outcome === 'refused') return submission.exitCode;
  if (talk.quiet && !follow.output?.isStandardOutput) await io.writeOut(`${submission.job.id}\n`);
  return await followJob(submission.job, follow, { talk, interrupts });
}
