import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { COMMANDS } from '../registry.js';
import { projectFilePath, readProjectFile, trustListPath } from '../settings/config-files.js';
import { configKey, type OptionSpec } from '../settings/options.js';
import { printableValue } from '../settings/printable-value.js';
import { UNTRUSTED_FLAGS } from '../settings/project-file.js';
import { readTrustedFiles, writeTrustedFiles } from '../settings/trusted-files.js';

export const command: CommandDefinition = {
  name: 'trust',
  description:
    'Let .batchinferrc.json of the working directory set everything: servers, engines, commands, files. Holds for this path and this content; a changed file is to be trusted again.',
  options: [
    { flag: 'list', description: 'print the files that are trusted' },
    { flag: 'remove', description: 'trust the file of this folder no more' },
  ],
  examples: ['batch-infer trust', 'batch-infer trust --remove'],
  readsUntrusted: true,
  run,
};

async function run({ settings, io }: CommandContext): Promise<number> {
  const listPath = trustListPath(io);
  const trusted = new Map(Object.entries(readTrustedFiles(listPath)));
  if (settings.switch('list')) {
    for (const path of trusted.keys()) await io.writeOut(`${path}\n`);
    return EXIT.ok;
  }
  if (settings.switch('remove')) {
    // A file that is broken or gone can still be taken off the list.
    const path = await realPathOf(projectFilePath(io));
    trusted.delete(path);
    await writeTrustedFiles(listPath, Object.fromEntries(trusted));
    io.writeError(`${path} is not trusted\n`);
    return EXIT.ok;
  }
  const file = readProjectFile(io);
  if (file === null)
    throw usageError(
      `There is no ${projectFilePath(io)}`,
      'go to the folder that has the file, then run it again',
    );
  trusted.set(file.realPath, file.hash);
  await writeTrustedFiles(listPath, Object.fromEntries(trusted));
  io.writeError(`${file.realPath} is trusted as it is now. It sets what an untrusted file may not set:\n`);
  for (const line of await decisions(file.layer.values)) io.writeError(`  ${line}\n`);
  return EXIT.ok;
}

/** `key: value` of all that only a trusted file sets. */
async function decisions(values: Readonly<Record<string, unknown>>): Promise<string[]> {
  const specs = new Map<string, OptionSpec>();
  for (const { load } of Object.values(COMMANDS))
    for (const spec of (await load()).command.options) specs.set(spec.flag, spec);
  const lines: string[] = [];
  for (const [flag, value] of Object.entries(values)) {
    const spec = specs.get(flag);
    if (spec === undefined || UNTRUSTED_FLAGS.has(flag)) continue;
    lines.push(`${configKey(flag)}: ${await printableValue(spec, String(value))}`);
  }
  return lines.length === 0 ? ['nothing'] : lines;
}

async function realPathOf(path: string): Promise<string> {
  const folder = await realpath(dirname(path));
  return await realpath(path).catch(() => join(folder, basename(path)));
}
