import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from './registry.js';

const packages = fileURLToPath(new URL('../../', import.meta.url));

/** Flags of each command. */
const flags = new Map<string, ReadonlySet<string>>();
beforeAll(async () => {
  for (const [name, { load }] of Object.entries(COMMANDS))
    flags.set(name, new Set((await load()).command.options.map(({ flag }) => flag)));
});
/** Flags of every command. */
const COMMON = ['help', 'version'];
const has = (command: string, flag: string): boolean =>
  COMMON.includes(flag) || (flags.get(command)?.has(flag) ?? false);

interface Text {
  readonly file: string;
  readonly text: string;
}

/** Lines of the sources of a package that hold text for people: comments and tests are left out. */
function textsOf(folder: string): Text[] {
  return readdirSync(join(packages, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !/test|fixture|conformance/.test(file))
    .flatMap((file) =>
      readFileSync(join(packages, folder, file), 'utf8')
        .split('\n')
        .filter((line) => !/^\s*(?:\/?\*|\/\/)/.test(line))
        .map((text) => ({ file: join(folder, file), text: text.replace(/\/\*\*.*?\*\//, '') })),
    );
}

const flagsIn = (text: string): string[] =>
  [...text.matchAll(/(?<![\w-])--([a-z][a-z0-9-]+)/g)].map(([, flag = '']) => flag);

/** Flags of engines, which our texts speak of, too. */
const OF_ENGINES = /gpu-runner\/src\/engine\/(?:preset|launcher)|gpu-runner\/src\/config\.ts/;

describe('flags that texts name', () => {
  it('belong to the command that stands before them', () => {
    const wrong = textsOf('cli/src').flatMap(({ file, text }) =>
      [...text.matchAll(/batch-infer ([a-z]+)((?: (?!batch-infer)[^`'"|; ]*)*)/g)].flatMap(
        ([, command = '', rest = '']) =>
          flags.has(command)
            ? flagsIn(rest)
                .filter((flag) => !has(command, flag))
                .map((flag) => `${file}: batch-infer ${command} has no --${flag}`)
            : [],
      ),
    );
    expect(wrong).toEqual([]);
  });

  it('exist on the command whose file has the text', () => {
    const wrong = textsOf('cli/src/commands').flatMap(({ file, text }) =>
      flagsIn(text.replace(/(?:batch-infer|vllm) [a-z]+[^`']*/g, ''))
        .filter((flag) => !has(basename(file, '.ts'), flag))
        .map((flag) => `${file}: has no --${flag}`),
    );
    expect(wrong).toEqual([]);
  });

  it.each(['control-plane/src', 'contracts/src', 'gpu-runner/src'])(
    'in %s exist on the server or runner that says them, and on `up`, which starts both',
    (folder) => {
      const wrong = textsOf(folder)
        .filter(({ file }) => !OF_ENGINES.test(file))
        .flatMap(({ file, text }) =>
          flagsIn(text.replace(/batch-infer (?:keys|status|results|validate)[^`']*/g, ''))
            .filter((flag) => flag !== 'server' && flag !== 'base-url')
            .filter((flag) => !has('up', flag) || !(has('serve', flag) || has('runner', flag)))
            .map((flag) => `${file}: --${flag} in ${text.trim()}`),
        );
      expect(wrong).toEqual([]);
    },
  );

  it('for the server to ask and the key to show exist wherever a server is asked', () => {
    const asking = [...flags].filter(([, own]) => own.has('base-url')).map(([name]) => name);
    expect(asking.filter((command) => !has(command, 'api-key'))).toEqual([]);
    expect(asking.length).toBeGreaterThan(10);
  });

  it('in messages about media exist wherever a server is started or asked offline', () => {
    expect(['serve', 'up', 'validate', 'run'].filter((command) => !has(command, 'media-hosts'))).toEqual([]);
  });
});
