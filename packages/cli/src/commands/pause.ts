import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS, TALK_OPTIONS } from '../settings/options.js';
import { jsonLine } from '../terminal/json-line.js';
import { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'pause',
  operands: [{ name: '<id>', description: 'the job' }],
  description:
    'Hold a job back: nothing of it starts until it is resumed, and what runs is given back. Its completion window goes on.',
  options: [...TALK_OPTIONS, ...CLIENT_OPTIONS],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const talk = new Talk(io, settings);
  const client = await connect(settings);
  const job = await client.jobs.pause(operands[0] ?? '', { signal: interrupts.signal });
  if (talk.json) await io.writeOut(jsonLine(toWireJson(job)));
  else if (talk.quiet) await io.writeOut(`${job.id}\n`);
  else if (!job.paused) talk.say(`${job.id} is about to end and was not paused`);
  else talk.say(`${job.id} is paused\nnext: batch-infer resume ${job.id}`);
  return EXIT.ok;
}
