import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS, TALK_OPTIONS } from '../settings/options.js';
import { summaryLine } from '../terminal/describe-job.js';
import { jsonLine } from '../terminal/json-line.js';
import { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'cancel',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Stop a job: nothing new starts, what is finished stays and can be fetched.',
  options: [
    { flag: 'wait', description: 'wait until the last item has stopped' },
    ...TALK_OPTIONS,
    ...CLIENT_OPTIONS,
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const talk = new Talk(io, settings);
  const client = await connect(settings);
  const handle = client.jobs.attach(operands[0] ?? '');
  const { signal } = interrupts;
  const answer = await handle.cancel({ signal });
  const job = settings.switch('wait') ? await handle.wait({ signal, onFailure: 'return' }) : answer;
  if (talk.json) await io.writeOut(jsonLine(toWireJson(job)));
  else if (talk.quiet) await io.writeOut(`${job.id}\n`);
  else if (job.finishedAt === null) talk.say(`${job.id} is being cancelled`);
  else talk.say(summaryLine(job));
  return EXIT.ok;
}
