import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { COMMANDS } from '../registry.js';
import { configKey, type OptionSpec } from '../settings/options.js';
import { printableValue } from '../settings/printable-value.js';
import { mergeSettings } from '../settings/settings.js';
import { formatTable } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';

export const command: CommandDefinition = {
  name: 'config',
  operands: [{ name: '<show>', description: 'the word show' }],
  description: 'Show the settings that environment and files give, and with --sources where each comes from.',
  options: [
    { flag: 'sources', description: 'say where each value comes from' },
    { flag: 'json', description: 'as one JSON document' },
  ],
  examples: ['batch-infer config show --sources'],
  readsUntrusted: true,
  run,
};

async function run({ operands, settings, io, layers }: CommandContext): Promise<number> {
  if (operands[0] !== 'show')
    throw usageError(`config has no "${operands[0]}"`, 'batch-infer config show --sources');
  const specs = await collectSpecs();
  const merged = mergeSettings([...specs.values()], { flags: {}, environment: io.environment, layers });
  const withSources = settings.switch('sources');
  const rows: { flag: string; value: string; source: string }[] = [];
  for (const [flag, { value, source }] of merged.entries()) {
    const spec = specs.get(flag);
    if (spec !== undefined) rows.push({ flag, value: await printableValue(spec, String(value)), source });
  }
  for (const { flag, source } of merged.refused)
    io.writeError(
      `${configKey(flag)} of ${source} is not used: the file is not trusted (batch-infer trust)\n`,
    );
  if (settings.switch('json')) {
    const document = rows.map(({ flag, value, source }) => [flag, withSources ? { value, source } : value]);
    await io.writeOut(jsonLine(Object.fromEntries(document)));
    return EXIT.ok;
  }
  await io.writeOut(
    formatTable(rows.map(({ flag, value, source }) => [flag, value, ...(withSources ? [source] : [])])),
  );
  return EXIT.ok;
}

/** Every flag of every command, by name. */
async function collectSpecs(): Promise<Map<string, OptionSpec>> {
  const specs = new Map<string, OptionSpec>();
  for (const { load } of Object.values(COMMANDS)) {
    const { command: definition } = await load();
    for (const spec of definition.options) if (!specs.has(spec.flag)) specs.set(spec.flag, spec);
  }
  return new Map([...specs].toSorted(([left], [right]) => (left < right ? -1 : 1)));
}
