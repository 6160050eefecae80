import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { findInput } from '../jobs/input-file.js';
import { readJobOptions } from '../jobs/job-options.js';
import { CLIENT_OPTIONS, JOB_OPTIONS } from '../settings/options.js';
import { formatCount, plural } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'estimate',
  operands: [{ name: '<file>', description: 'JSONL file, or - for standard input' }],
  description: 'Ask the server what a file would need, without running it.',
  options: [
    ...JOB_OPTIONS,
    { flag: 'json', description: 'the answer as the API gives it' },
    ...CLIENT_OPTIONS,
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const options = readJobOptions(settings);
  await using input = await (await findInput(operands[0] ?? '-', io)).open(interrupts.signal);
  const client = await connect(settings);
  const estimate = await client.jobs.estimate(input.path, { ...options, signal: interrupts.signal });
  if (settings.switch('json')) {
    await io.writeOut(jsonLine(toWireJson(estimate)));
    return EXIT.ok;
  }
  const models = Object.entries(estimate.models).map(([name, count]) => `${name} ${formatCount(count)}`);
  const size = `${plural(estimate.shards, 'shard')}, ${formatCount(estimate.inputBytes)} bytes`;
  await io.writeOut(`${input.name}: ${plural(estimate.items, 'item')} (${models.join(', ')}), ${size}\n`);
  return EXIT.ok;
}
