import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ManualClock } from '../../use-cases-fixture.js';
import { ApiKeyFile, ApiKeysFileError } from './key-file.js';

const folder = mkdtempSync(join(tmpdir(), 'batch-infer-api-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function fileOf(content: string): string {
  files += 1;
  const path = join(folder, `keys-${files}`);
  writeFileSync(path, content);
  return path;
}

const hashOf = (key: string) => createHash('sha256').update(key).digest('hex');
const row = (id: string, fields: object = {}) => ({
  id,
  hash: hashOf(`secret-${id}`),
  project: 'p',
  ...fields,
});

const open = (content: string, clock = new ManualClock()) =>
  ApiKeyFile.open({ path: fileOf(content), clock });

describe('a file of API keys', () => {
  it('may be a JSON array or JSON lines', async () => {
    const rows = [row('one'), row('two', { project: 'q', scopes: ['read'] })];
    for (const content of [JSON.stringify(rows), rows.map((each) => JSON.stringify(each)).join('\n\n')]) {
      const keys = await open(content);
      expect(await keys.find('secret-two')).toMatchObject({ id: 'two', projectId: 'q', scopes: ['read'] });
      expect(await keys.find('secret-one')).toMatchObject({ id: 'one', projectId: 'p', scopes: [] });
    }
  });

  it('knows no other keys, and none after their time', async () => {
    const clock = new ManualClock();
    const expires_at = new Date(clock.nowMs() + 1_000).toISOString();
    const keys = await open(JSON.stringify([row('short', { expires_at })]), clock);
    expect(await keys.find('secret-other')).toBeNull();
    expect(await keys.find('')).toBeNull();
    expect(await keys.find('secret-short')).not.toBeNull();
    clock.advance(1_000);
    expect(await keys.find('secret-short')).toBeNull();
  });

  it('is read again when it changes, and kept while it is broken', async () => {
    const clock = new ManualClock();
    const path = fileOf(JSON.stringify([row('old')]));
    const keys = await ApiKeyFile.open({ path, clock });
    writeFileSync(path, '[{');
    clock.advance(1_000);
    expect(await keys.find('secret-old')).not.toBeNull();
    writeFileSync(path, JSON.stringify([row('newer')]));
    clock.advance(1_000);
    expect(await keys.find('secret-old')).toBeNull();
    expect(await keys.find('secret-newer')).not.toBeNull();
  });

  it.each([
    ['nothing', ''],
    ['broken JSON', '[{"id": secret'],
    ['no hash', JSON.stringify([{ id: 'a', project: 'p' }])],
    ['a key in place of its hash', JSON.stringify([{ ...row('a'), hash: 'secret-a' }])],
    ['an unknown scope', JSON.stringify([row('a', { scopes: ['everything'] })])],
    ['a project that is no name', JSON.stringify([row('a', { project: '../other' })])],
  ])('is refused with %s, without showing what it holds', async (_, content) => {
    const opened = open(content);
    await expect(opened).rejects.toBeInstanceOf(ApiKeysFileError);
    await expect(opened).rejects.not.toThrow(/secret/);
  });

  it('is refused when it is not there', async () => {
    const clock = new ManualClock();
    await expect(ApiKeyFile.open({ path: join(folder, 'missing'), clock })).rejects.toThrow(/cannot be read/);
  });
});
