import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A JSONL file of `count` questions; `marker` keeps files of different tests apart. */
export async function writeInput(
  folder: string,
  count: number,
  options: { name?: string; marker?: string; model?: string | null } = {},
): Promise<string> {
  const { name = 'in.jsonl', marker = 'q', model = 'sim-model' } = options;
  const lines = Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      custom_id: `${marker}-${index}`,
      body: {
        ...(model === null ? {} : { model }),
        messages: [{ role: 'user', content: `${marker} number ${index}` }],
      },
    }),
  );
  const path = join(folder, name);
  await writeFile(path, `${lines.join('\n')}\n`);
  return path;
}

export interface NativeLine {
  readonly index: number;
  readonly custom_id: string;
  readonly status: string;
  readonly error?: { readonly code: string };
}

export async function readLines(path: string): Promise<NativeLine[]> {
  const text = await readFile(path, 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** The custom ids that a file of `count` questions must come back with, in order. */
export const idsOf = (count: number, marker = 'q'): string[] =>
  Array.from({ length: count }, (_, index) => `${marker}-${index}`);
