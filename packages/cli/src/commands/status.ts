import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { describeJob } from '../terminal/describe-job.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'status',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Show a job: counts, rate, why it waits, why items failed.',
  options: [
    { flag: 'json', description: 'the job as the API gives it' },
    { flag: 'quiet', short: 'q', description: 'the status word only' },
    ...CLIENT_OPTIONS,
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const client = await connect(settings);
  const job = await client.jobs.get(operands[0] ?? '', { signal: interrupts.signal });
  if (settings.switch('json')) await io.writeOut(jsonLine(toWireJson(job)));
  else if (settings.switch('quiet')) await io.writeOut(`${job.status}\n`);
  else await io.writeOut(describeJob(job, Date.now()));
  return EXIT.ok;
}
