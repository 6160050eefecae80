import { Command, CommanderError, Option } from 'commander';
import { usageError } from './cli-error.js';
import type { CommandDefinition } from './command.js';
import { EXIT, EXIT_CODE_HELP } from './exit-codes.js';
import { reportFailure } from './failures.js';
import { Interrupts } from './interrupts.js';
import type { Io } from './io.js';
import { COMMANDS } from './registry.js';
import { readConfigFiles } from './settings/config-files.js';
import { configKey, environmentName, type OptionSpec } from './settings/options.js';
import { refusedSettings } from './settings/project-file.js';
import { type Layer, mergeSettings, type Settings } from './settings/settings.js';
import { readVersion } from './version.js';

/** Parses a command line, runs its command, and resolves to the exit code. */
export async function runCli(parameters: readonly string[], io: Io): Promise<number> {
  const name = parameters.find((parameter) => !parameter.startsWith('-'));
  const entry = name === undefined ? undefined : COMMANDS[name === 'help' ? (parameters[1] ?? '') : name];
  try {
    const definition = entry === undefined ? null : (await entry.load()).command;
    let exitCode: number = EXIT.ok;
    const program = makeProgram(io, definition, async (flags, operands) => {
      exitCode = await runCommand(definition as CommandDefinition, { flags, operands, io });
    });
    if (parameters.length === 0) program.help();
    await program.parseAsync([...parameters], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return await reportFailure(error, io);
  }
}

async function runCommand(
  definition: CommandDefinition,
  { flags, operands, io }: { flags: Record<string, unknown>; operands: readonly string[]; io: Io },
): Promise<number> {
  using interrupts = new Interrupts();
  const layers = readConfigFiles(io);
  const settings = mergeSettings(definition.options, { flags, environment: io.environment, layers });
  try {
    if (definition.readsUntrusted !== true) requireTrust(settings, layers);
    return await definition.run({ operands, settings, io, interrupts, layers });
  } catch (error) {
    return await reportFailure(error, io, settings);
  }
}

/** @throws CliError (usage) when the project's file would decide what only its user may decide. */
function requireTrust(settings: Settings, layers: readonly Layer[]): void {
  const untrusted = layers.flatMap(({ name, untrusted }) => (untrusted ? [name] : []));
  const refused = refusedSettings(settings, untrusted);
  const [first] = refused;
  if (first === undefined) return;
  const keys = refused.map(({ flag }) => configKey(flag)).join(', ');
  throw usageError(
    `${first.source} sets ${keys}, and you have not trusted this file: such settings say where keys and prompts go, what is run, or which files are read and written`,
    `read the file; if it is yours, run batch-infer trust in this folder, or give ${refused.map(({ flag }) => `--${flag}`).join(', ')} yourself`,
  );
}

function makeProgram(
  io: Io,
  loaded: CommandDefinition | null,
  action: (flags: Record<string, unknown>, operands: readonly string[]) => Promise<void>,
): Command {
  const program = new Command('batch-infer')
    .description('Batch inference on your own engines: submit a file, get every line back.')
    .version(readVersion(), '-V, --version')
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride()
    .configureOutput({ writeOut: (text) => void io.writeOut(text), writeErr: (text) => io.writeError(text) })
    .addHelpText('after', `\n${EXIT_CODE_HELP}`);
  for (const [name, { summary }] of Object.entries(COMMANDS)) {
    if (name === loaded?.name) addCommand(program, loaded, action);
    else program.command(name).description(summary);
  }
  return program;
}

function addCommand(
  program: Command,
  definition: CommandDefinition,
  action: (flags: Record<string, unknown>, operands: readonly string[]) => Promise<void>,
): void {
  const command = program.command(definition.name).description(definition.description);
  for (const { name, description } of definition.operands ?? []) command.argument(name, description);
  for (const spec of definition.options) command.addOption(toOption(spec));
  command.addHelpText('after', helpTail(definition));
  command.action(async () => {
    const flags = Object.fromEntries(
      definition.options.map((spec) => [spec.flag, command.getOptionValue(configKey(spec.flag))]),
    );
    await action(flags, command.args);
  });
}

function toOption(spec: OptionSpec): Option {
  const value = spec.value === undefined ? '' : ` <${spec.value}>`;
  const short = spec.short === undefined ? '' : `-${spec.short}, `;
  const standard = spec.default === undefined ? '' : ` (default: ${spec.default})`;
  // The merge of flags, environment and files is ours: commander only parses.
  const option = new Option(`${short}--${spec.flag}${value}`, `${spec.description}${standard}`);
  if (spec.repeatable) {
    option.argParser((text: string, previous: string[] | undefined) => [...(previous ?? []), text]);
  }
  return option;
}

function helpTail({ examples = [], options }: CommandDefinition): string {
  const shown = examples.map((example) => `  ${example}`).join('\n');
  const [first] = options;
  const variable =
    first === undefined
      ? ''
      : `\nEvery flag has a variable (--${first.flag}: ${environmentName(first.flag)}) and a key in the configuration files.`;
  return `${shown === '' ? '' : `\nExamples:\n${shown}\n`}${variable}`;
}
