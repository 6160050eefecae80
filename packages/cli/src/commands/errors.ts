import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect, PATIENT_RETRIES } from '../jobs/connect.js';
import { StandardOutput } from '../output/result-stream.js';
import { writeResults } from '../output/write-results.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { describeFailures } from '../terminal/describe-job.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'errors',
  operands: [{ name: '<id>', description: 'the job' }],
  description: 'Show why items of a job failed, grouped by cause; --items prints every failed one.',
  options: [
    { flag: 'items', description: 'one result line for every item that did not succeed' },
    { flag: 'json', description: 'the groups as JSON, one a line' },
    ...CLIENT_OPTIONS,
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const client = await connect(settings);
  const handle = client.jobs.attach(operands[0] ?? '');
  const job = await handle.refresh({ signal: interrupts.signal });
  if (settings.switch('items')) {
    const status = ['failed', 'cancelled', 'expired'] as const;
    const read = { format: 'native', follow: false, status, maxRetries: PATIENT_RETRIES } as const;
    await writeResults(handle, new StandardOutput(io), { ...read, signal: interrupts.signal });
    return EXIT.ok;
  }
  if (settings.switch('json')) {
    for (const group of [...job.errors, ...job.inputErrors]) await io.writeOut(jsonLine(toWireJson(group)));
    return EXIT.ok;
  }
  const failures = describeFailures(job);
  await io.writeOut(
    failures === '' ? `${job.id} ${job.status}: no failures\n` : `${job.id} ${job.status}\n${failures}`,
  );
  return EXIT.ok;
}
