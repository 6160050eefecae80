import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import { newFileKey } from '../../access/file-key.js';
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

  it('is read again when it changes, and kept while it is written', async () => {
    const clock = new ManualClock();
    const path = fileOf(JSON.stringify([row('old')]));
    const keys = await ApiKeyFile.open({ path, clock });
    writeFileSync(path, '[{');
    clock.advance(1_000);
    expect(await keys.find('secret-old')).not.toBeNull();
    expect(keys.health()).toMatchObject({ state: 'up' });
    writeFileSync(path, JSON.stringify([row('newer')]));
    clock.advance(1_000);
    expect(await keys.find('secret-old')).toBeNull();
    expect(await keys.find('secret-newer')).not.toBeNull();
  });

  it('without rows lets nobody in, from the start or once it is so', async () => {
    expect(await (await open('[]')).find('secret-one')).toBeNull();
    const clock = new ManualClock();
    const path = fileOf(JSON.stringify([row('last')]));
    const keys = await ApiKeyFile.open({ path, clock });
    writeFileSync(path, '[]');
    clock.advance(1_000);
    expect(await keys.find('secret-last')).toBeNull();
    expect(keys.health()).toEqual({ state: 'up', reason: null });
  });

  it.each([
    ['is gone', (path: string) => rmSync(path)],
    ['is broken', (path: string) => writeFileSync(path, '[{')],
    ['is empty', (path: string) => writeFileSync(path, '')],
    ['has a bad row', (path: string) => writeFileSync(path, JSON.stringify([{ id: 'secret-in-a-row' }]))],
  ])('that %s is told each minute, and its keys are refused after one', async (_, spoil) => {
    const clock = new ManualClock();
    const lines: string[] = [];
    const logger = pino({ level: 'info' }, { write: (line) => lines.push(line) });
    const content = JSON.stringify([row('old')]);
    const path = fileOf(content);
    const keys = await ApiKeyFile.open({ path, clock, logger });
    spoil(path);
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds; second += 1) {
        clock.advance(1_000);
        await keys.check();
      }
    };
    await pass(5);
    expect([keys.health().state, lines]).toEqual(['up', []]);
    await pass(1);
    expect(keys.health()).toMatchObject({ state: 'degraded', reason: expect.stringContaining('minute') });
    expect(lines).toHaveLength(1);
    await pass(54);
    expect(await keys.find('secret-old')).not.toBeNull();
    await pass(1);
    expect(await keys.find('secret-old')).toBeNull();
    expect(keys.health()).toMatchObject({
      state: 'degraded',
      reason: expect.stringContaining('are refused'),
    });
    await pass(120);
    expect(lines).toHaveLength(3);
    expect(lines.join('')).not.toMatch(/secret|hash/);
    writeFileSync(path, content);
    await pass(1);
    expect(await keys.find('secret-old')).not.toBeNull();
    expect(keys.health()).toEqual({ state: 'up', reason: null });
    expect(lines.at(-1)).toContain('works again');
  });

  it('takes the rows that keys are made with', async () => {
    const all = newFileKey({ project_id: '*', scopes: ['runner', 'admin'], name: 'root' });
    const clock = new ManualClock();
    const short = newFileKey({ expires_in: '1h' }, clock.nowMs());
    const keys = await open(JSON.stringify([all.row, short.row]), clock);
    expect(await keys.find(all.key)).toMatchObject({ projectId: '*', scopes: ['runner', 'admin'] });
    expect(await keys.find(short.key)).toMatchObject({ projectId: 'default', scopes: ['read', 'write'] });
    expect(JSON.stringify([all.row, short.row])).not.toContain(all.key.slice(-33));
    expect(() => newFileKey({ project_id: '*' })).toThrow(/runner and admin/);
  });

  it.each([
    ['nothing', ''],
    ['broken JSON', '[{"id": secret'],
    ['no hash', JSON.stringify([{ id: 'a', project: 'p' }])],
    ['a key in place of its hash', JSON.stringify([{ ...row('a'), hash: 'secret-a' }])],
    ['an unknown scope', JSON.stringify([row('a', { scopes: ['everything'] })])],
    ['a key of all projects that may everything', JSON.stringify([row('a', { project: '*' })])],
    ['the same, said so', JSON.stringify([row('a', { project: '*', scopes: [] })])],
    ['a field that is none', JSON.stringify([row('a', { scope: ['read'] })])],
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
