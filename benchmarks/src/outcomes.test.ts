import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readOutcomes, requireAll } from './outcomes.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'outcomes-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, lines: readonly unknown[]): string {
  const path = join(folder, name);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}

describe('the outcomes of a job', () => {
  it('are counted over output and error file', async () => {
    const output = file('output', [
      { custom_id: 'a', response: { status_code: 200 }, error: null },
      { custom_id: 'b', response: { status_code: 200 }, error: null },
      { custom_id: 'b', response: { status_code: 200 }, error: null },
    ]);
    const errors = file('error', [{ custom_id: 'c', response: { status_code: 500 }, error: null }]);
    expect(await readOutcomes([output, errors], 5)).toEqual({ lines: 4, succeeded: 3, lost: 2, doubled: 1 });
  });

  it('are read in the native format, too', async () => {
    const output = file('native', [{ custom_id: 'a', status: 'succeeded' }]);
    await expect(requireAll([output], 1)).resolves.toBeUndefined();
  });

  it('spoil a run that lost an item', async () => {
    const output = file('short', [{ custom_id: 'a', status: 'succeeded' }]);
    await expect(requireAll([output], 2)).rejects.toThrow('"lost":1');
  });
});
