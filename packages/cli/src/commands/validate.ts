import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { findInput } from '../jobs/input-file.js';
import { readJobOptions } from '../jobs/job-options.js';
import { JOB_OPTIONS } from '../settings/options.js';
import { MEDIA_OPTIONS } from '../settings/server-options.js';
import { placed } from '../terminal/describe-job.js';
import { formatCount, plural } from '../terminal/format.js';
import { annotateProblems } from '../terminal/github.js';
import { jsonLine } from '../terminal/json-line.js';

const READ = new Set(['model', 'endpoint', 'defaults']);

export const command: CommandDefinition = {
  name: 'validate',
  operands: [{ name: '<file>', description: 'JSONL file, or - for standard input' }],
  description: 'Check a file as a server would, offline: every fault with its line.',
  options: [
    ...JOB_OPTIONS.filter(({ flag }) => READ.has(flag)),
    ...MEDIA_OPTIONS,
    { flag: 'json', description: 'the report as one JSON document' },
    { flag: 'quiet', short: 'q', description: 'the exit code only' },
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const { validateFile } = await import('@batch-infer/sdk/node');
  const { endpoint, model, defaults } = readJobOptions(settings);
  const mediaHosts = settings
    .list('media-hosts')
    .flatMap((hosts) => hosts.split(','))
    .map((host) => host.trim());
  await using input = await (await findInput(operands[0] ?? '-', io)).open(interrupts.signal);
  const report = await validateFile(input.path, {
    signal: interrupts.signal,
    mediaHosts: mediaHosts.includes('*') ? 'any' : mediaHosts,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(model === undefined ? {} : { model }),
    ...(defaults === undefined ? {} : { defaults }),
  });
  const { ok, items, bytes, models, errors, errorCount } = report;
  annotateProblems(io, input.name, errors);
  if (settings.switch('json')) {
    await io.writeOut(jsonLine({ ok, items, bytes, models, error_count: errorCount, errors }));
  } else if (!settings.switch('quiet')) {
    const byModel = Object.entries(models).map(([name, count]) => `${name} ${formatCount(count)}`);
    const more = errorCount > errors.length ? ` (the first ${errors.length} here)` : '';
    const head = ok
      ? `${input.name}: ${plural(items, 'item')}, no faults (${byModel.join(', ')})`
      : `${input.name}: ${plural(errorCount, 'fault')} in ${plural(items, 'item')}${more}`;
    await io.writeOut(
      `${[head, ...errors.map(({ line, message }) => `  ${placed(line, message)}`)].join('\n')}\n`,
    );
  }
  return ok ? EXIT.ok : EXIT.usage;
}
