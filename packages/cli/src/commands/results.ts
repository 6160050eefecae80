import { ITEM_STATUSES } from '@batch-infer/contracts';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect, PATIENT_RETRIES } from '../jobs/connect.js';
import { openOutput } from '../output/open-output.js';
import { RESULT_FORMATS, writeResults } from '../output/write-results.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { plural } from '../terminal/format.js';

export const command: CommandDefinition = {
  name: 'results',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Print the results of a job, one line an item; of a running job, what is there so far.',
  options: [
    {
      flag: 'output',
      short: 'o',
      value: 'FILE',
      description: 'write to a file (through FILE.part), a pipe or a device',
    },
    { flag: 'format', value: 'FORMAT', description: 'native or openai', default: 'native' },
    { flag: 'order', value: 'ORDER', description: 'input or completion', default: 'input' },
    {
      flag: 'after',
      value: 'POSITION',
      description: 'go on behind this index (input) or cursor (completion)',
    },
    {
      flag: 'status',
      value: 'STATUS',
      repeatable: true,
      description: 'only succeeded, failed, cancelled or expired items',
    },
    { flag: 'follow', short: 'f', description: 'wait for more until the job ends' },
    { flag: 'quiet', short: 'q', description: 'no talk' },
    ...CLIENT_OPTIONS,
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const status = settings.list('status').map((text) => {
    const known = ITEM_STATUSES.find((candidate) => candidate === text);
    if (known === undefined) throw usageError(`--status must be one of ${ITEM_STATUSES.join(', ')}`);
    return known;
  });
  const after = settings.text('after');
  const options = {
    format: settings.choice('format', RESULT_FORMATS) ?? 'native',
    order: settings.choice('order', ['input', 'completion']) ?? 'input',
    follow: settings.switch('follow'),
    signal: interrupts.signal,
    ...(after === undefined ? {} : { after }),
    ...(status.length === 0 ? {} : { status }),
  };
  await using output = await openOutput(settings.text('output') ?? '-', io);
  const client = await connect(settings);
  const job = client.jobs.attach(operands[0] ?? '');
  await job.refresh({ signal: interrupts.signal });
  const patient = { ...options, maxRetries: PATIENT_RETRIES };
  const lines = await writeResults(job, output, patient);
  if (!output.isStandardOutput && !settings.switch('quiet'))
    io.writeError(`${plural(lines, 'line')} in ${output.name}\n`);
  return EXIT.ok;
}
