import type { EngineFamily, Preset, PresetFlag } from './presets.js';
import { quoteShellWord, splitShellWords } from './shell-words.js';

/** What the person has said of the engine to launch. */
export interface PresetRequest {
  readonly preset: Preset;
  readonly name: string;
  /** Their command; `null`: one is made of the preset and the model. */
  readonly launch: string | null;
  readonly models: readonly string[];
  /** Where it shall listen; `null`: nobody has said. */
  readonly engineUrl: string | null;
}

const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'dash', 'zsh', 'ash']);
/** Their ports are mapped by a flag of their own. */
const CONTAINER_TOOLS: ReadonlySet<string> = new Set(['docker', 'podman', 'nerdctl']);
const FAMILY_WORDS: Readonly<Record<EngineFamily, RegExp>> = {
  vLLM: /(^|[/.])vllm($|[-/.:@])/,
  SGLang: /(^|[/.])sglang($|[-/.:@])/,
  'llama.cpp': /(^|\/)llama-server($|\.)/,
};

/**
 * The whole command line: what the person wrote, then the flags of the preset that it has not.
 * @throws {SyntaxError} with a sentence for the person: no model and no command, or a command whose flags cannot be
 * added to.
 */
export function presetCommand({ preset, name, launch, models, engineUrl }: PresetRequest): string {
  if (launch === null) {
    const [model] = models;
    if (model === undefined || models.length > 1) {
      throw new SyntaxError(
        `${name} starts one engine: give its model as --model MODEL, or the command to complete as --launch "${preset.start('MODEL').join(' ')}"`,
      );
    }
    const words = preset.start(model).map(quoteShellWord).join(' ');
    const port = engineUrl === null ? '' : new URL(engineUrl).port;
    const address = preset.address.map((flag) =>
      flag.name === '--port' && port !== '' ? { ...flag, value: port } : flag,
    );
    return [words, ...[...address, ...preset.flags].map(toText)].join(' ');
  }
  const words = splitShellWords(launch);
  refuseUnfit(words, preset, name);
  // Where it listens is said already, or is the container's affair.
  const outside = engineUrl !== null || words.some((word) => CONTAINER_TOOLS.has(programOf(word)));
  const wanted = [...(outside ? [] : preset.address), ...preset.flags];
  const missing = wanted.filter((flag) => !isWritten(words, flag, preset.family));
  return [launch, ...missing.map(toText)].join(' ');
}

/** Flags at the end of these would not reach the engine, or would outrank what was written elsewhere. */
function refuseUnfit(words: readonly string[], preset: Preset, name: string): void {
  if (SHELLS.has(programOf(words[0] ?? '')) && words.some((word) => /^-\w*c$/.test(word))) {
    throw new SyntaxError(
      `${name} cannot add flags to a command inside of a shell: start the engine without one`,
    );
  }
  if (
    preset.family !== 'llama.cpp' &&
    words.some((word) => word === '--config' || word.startsWith('--config='))
  ) {
    throw new SyntaxError(
      `${name} would outrank the file of --config: write its flags in the command, or leave --preset out`,
    );
  }
  const families = Object.entries(FAMILY_WORDS).flatMap(([family, pattern]) =>
    words.some((word) => pattern.test(word)) ? [family] : [],
  );
  if (families.length > 0 && !families.includes(preset.family)) {
    throw new SyntaxError(
      `${name} is for ${preset.family}, and the command of --launch starts ${families.join(' and ')}`,
    );
  }
}

const programOf = (word: string): string => word.slice(word.lastIndexOf('/') + 1);

const toText = ({ name, value }: PresetFlag): string =>
  value === null ? name : `${name} ${value === '{port}' ? value : quoteShellWord(value)}`;

/** vLLM and SGLang read flags as Python's argparse does: `_` for `-` (vLLM), and unique beginnings of names. */
function isWritten(words: readonly string[], flag: PresetFlag, family: EngineFamily): boolean {
  const names = [flag.name, ...(flag.also ?? [])];
  return words.some((word) => {
    if (!word.startsWith('-')) return false;
    const written = (word.split('=')[0] ?? '').replaceAll('_', '-');
    const shortened = family !== 'llama.cpp' && /^--.{3,}/.test(written);
    return names.some((name) => name === written || (shortened && name.startsWith(written)));
  });
}

const SECRET_FLAG = /^--?(?:[\w-]*[-_])?(?:key|token|secret|password)$/i;
const SECRET_PAIR = /^((?:--?)?[\w-]*(?:key|token|secret|password))=./i;

/** A command line for people to read: what looks like a key or a password is left out. */
export function printableCommand(words: readonly string[]): string {
  return words
    .map((word, index) => {
      if (SECRET_FLAG.test(words[index - 1] ?? '')) return '***';
      const pair = SECRET_PAIR.exec(word);
      return pair === null ? quoteShellWord(word) : `${pair[1]}=***`;
    })
    .join(' ');
}

/** The same of a command as it was given. One that cannot be read is not shown: nobody knows where its keys are. */
export function printableCommandLine(command: string): string {
  try {
    return printableCommand(splitShellWords(command));
  } catch {
    return '(a command whose quotes are not closed)';
  }
}
