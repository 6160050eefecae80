import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS, TALK_OPTIONS } from '../settings/options.js';
import { jsonLine } from '../terminal/json-line.js';
import { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'resume',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Let a paused job go on.',
  options: [...TALK_OPTIONS, ...CLIENT_OPTIONS],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const talk = new Talk(io, settings);
  const client = await connect(settings);
  const job = await client.jobs.resume(operands[0] ?? '', { signal: interrupts.signal });
  if (talk.json) await io.writeOut(jsonLine(toWireJson(job)));
  else if (talk.quiet) await io.writeOut(`${job.id}\n`);
  else talk.say(`${job.id} goes on`);
  return EXIT.ok;
}
