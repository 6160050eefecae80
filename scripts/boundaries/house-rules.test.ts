import { describe, expect, it } from 'vitest';
import { listFiles, readText } from './workspace.ts';

const files = listFiles();
const sources = files.filter(
  (path) => /\.(ts|mts|js|mjs)$/.test(path) && !path.startsWith('scripts/boundaries/'),
);

/** `path:line` of every line that matches. */
function findLines(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    readText(path)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

/** Calls that start a process, with all that stands between their parentheses. */
function findSpawns(path: string): { place: string; call: string }[] {
  const text = readText(path);
  const calls = /(?<![.\w#])(?:spawn|spawnSync|fork|exec|execSync|execFile|execFileSync)\(/g;
  return [...text.matchAll(calls)].map((match) => {
    let depth = 0;
    let end = match.index;
    do {
      if (text[end] === '(') depth += 1;
      if (text[end] === ')') depth -= 1;
      end += 1;
    } while (end < text.length && (depth > 0 || !text.slice(match.index, end).includes('(')));
    const line = text.slice(0, match.index).split('\n').length;
    return { place: `${path}:${line}`, call: text.slice(match.index, end) };
  });
}

describe('the product', () => {
  it('starts no process without saying what it inherits', () => {
    const product = sources.filter(
      (path) => /^packages\/(?!testkit\/)[\w-]+\/src\//.test(path) && !/\.test\.ts$/.test(path),
    );
    const importers = product.filter((path) => /from '(?:node:)?child_process'/.test(readText(path)));
    const spawns = importers.flatMap(findSpawns);
    expect(spawns.length).toBeGreaterThan(0);
    expect(spawns.filter(({ call }) => !/\benv\b/.test(call)).map(({ place }) => place)).toEqual([]);
  });
});

describe('the lockfile', () => {
  it('names no registry host', () => {
    expect(findLines(['package-lock.json'], /"resolved": "http/)).toEqual([]);
  });
});

describe('every source file', () => {
  it('carries no inline exception from lint or types', () => {
    const pattern = /biome-ignore|eslint-disable|@ts-(?:ignore|expect-error|nocheck)|v8 ignore/;
    expect(findLines(sources, pattern)).toEqual([]);
  });

  it('has no type assertion through unknown and no any', () => {
    expect(findLines(sources, /\bas unknown as\b|\bas any\b|: any\b|<any>/)).toEqual([]);
  });

  it('leaves nothing to do later', () => {
    expect(findLines(sources, /\b(?:TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
  });

  it('names no folder of the machine it was written on', () => {
    expect(findLines(sources, /(?:^|['"`\s(])\/(?:work|home\/\w+|Users\/\w+|root)\/\w/)).toEqual([]);
  });

  it('has a kebab-case name', () => {
    expect(sources.filter((path) => !/^[a-z0-9.-]+$/.test(path.split('/').at(-1) ?? ''))).toEqual([]);
  });
});
