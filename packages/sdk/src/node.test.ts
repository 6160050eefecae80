import { execFileSync } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFile, validateFile } from './node.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-sdk-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function fileOf(text: string): Promise<string> {
  const path = join(folder, 'in.jsonl');
  await writeFile(path, text);
  return path;
}

describe('validateFile', () => {
  it('counts items by model, and accepts a BOM, CRLF, blank lines and no last line break', async () => {
    const path = await fileOf(
      '\uFEFF{"body":{"messages":[{"role":"user","content":"hi"}],"model":"a"}}\r\n\r\n{"custom_id":"x","body":{"messages":[{"role":"user","content":"hi"}]}}',
    );
    expect(await validateFile(path, { model: 'b' })).toMatchObject({
      ok: true,
      items: 2,
      models: { a: 1, b: 1 },
      errors: [],
    });
  });

  it('names the line and field of every fault', async () => {
    const path = await fileOf(
      '{"body":{"messages":[{"role":"user","content":"hi"}],"model":"a"}}\nnot json\n{"custom_id":"x","url":"/v1/nope","body":{"messages":[{"role":"user","content":"hi"}],"model":"a"}}\n',
    );
    const report = await validateFile(path);
    expect(report.ok).toBe(false);
    expect(report.errors.map(({ line }) => line)).toEqual([2, 3]);
  });

  it('finds lines without a model, unless the options name one', async () => {
    const path = await fileOf('{"body":{"messages":[{"role":"user","content":"hi"}]}}\n');
    expect((await validateFile(path)).ok).toBe(false);
    expect((await validateFile(path, { model: 'm' })).ok).toBe(true);
    expect(await validateFile(path, { defaults: { model: 'm' } })).toMatchObject({
      ok: true,
      models: { m: 1 },
    });
  });

  it('finds media at addresses that the server would not send its engines to', async () => {
    const image = { type: 'image_url', image_url: { url: 'https://Media.example/x.png' } };
    const body = { model: 'm', messages: [{ role: 'user', content: [image] }] };
    const path = await fileOf(`${JSON.stringify({ body })}\n`);
    const report = await validateFile(path);
    expect(report).toMatchObject({ ok: false, errorCount: 1 });
    expect(report.errors).toMatchObject([
      { line: 1, code: 'media_url_not_allowed', param: 'body.messages.0.content.0.image_url.url' },
    ]);
    for (const mediaHosts of ['any', ['other.example', 'MEDIA.example']] as const)
      expect((await validateFile(path, { mediaHosts })).ok).toBe(true);
    expect((await validateFile(path, { mediaHosts: ['other.example'] })).ok).toBe(false);
  });

  it('judges the media of defaults, which are on no line', async () => {
    const image = { type: 'input_image', image_url: 'https://media.example/x.png' };
    const defaults = { model: 'm', input: [{ role: 'user', content: [image] }] };
    const path = await fileOf('{"body":{}}\n');
    const options = { endpoint: '/v1/responses', defaults } as const;
    expect(await validateFile(path, options)).toMatchObject({
      ok: false,
      errors: [{ line: null, param: 'defaults.input.0.content.0.image_url' }],
    });
    expect((await validateFile(path, { ...options, mediaHosts: ['media.example'] })).ok).toBe(true);
  });
});

describe('openFile', () => {
  it('reads only what is asked for, so that a slow upload never fills the memory', async () => {
    const path = await fileOf('a'.repeat(3 * 1024 * 1024));
    const reader = (await openFile(path).open()).getReader();
    const first = await reader.read();
    await writeFile(path, 'b'.repeat(3 * 1024 * 1024));
    const second = await reader.read();
    expect([first.value?.at(-1), second.value?.at(0)]).toEqual(['a'.charCodeAt(0), 'b'.charCodeAt(0)]);
    await reader.cancel();
  });

  it('hashes without holding the file', async () => {
    expect(await openFile(await fileOf('hello')).sha256?.()).toBe(
      '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
    );
  });
});

describe('a file that changes while it is submitted', () => {
  const drain = async (source: ReturnType<typeof openFile>): Promise<void> => {
    for await (const _chunk of await source.open());
  };

  it('is refused when a later reading would send something else than was hashed', async () => {
    const path = await fileOf('one\n');
    const source = openFile(path);
    await source.sha256?.();
    await drain(source);
    await appendFile(path, 'two\n');
    await expect(drain(source)).rejects.toMatchObject({
      name: 'InputReadError',
      message: `${path} changed while it was being read: submit it when nothing writes to it any more, or submit a copy`,
    });
  });

  it('is refused when it grows under the reader', async () => {
    const path = await fileOf('a'.repeat(200_000));
    const reader = (await openFile(path).open()).getReader();
    await reader.read();
    await appendFile(path, 'more');
    const rest = async () => {
      while (!(await reader.read()).done);
    };
    await expect(rest()).rejects.toThrow('changed while it was being read');
  });

  it('is refused when another file takes its name, even one of the same size', async () => {
    const path = await fileOf('one\n');
    const source = openFile(path);
    await source.sha256?.();
    await writeFile(`${path}.new`, 'two\n');
    await rename(`${path}.new`, path);
    await expect(source.sha256?.()).rejects.toThrow('changed while it was being read');
  });
});

describe('a path that is no plain file', () => {
  it('is sent once as it comes, and not hashed: a second reading would find nothing', async () => {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    const source = openFile(path);
    expect([source.repeatable, source.sha256]).toEqual([false, undefined]);
    const written = writeFile(path, 'one\n');
    let text = '';
    for await (const chunk of await source.open()) text += Buffer.from(chunk).toString();
    await written;
    expect(text).toBe('one\n');
  });
});

describe('the main entry', () => {
  it('imports nothing of Node, so that it runs in a browser', async () => {
    const folderOfSources = new URL('.', import.meta.url);
    const seen = new Set<string>();
    const visit = async (name: string): Promise<void> => {
      if (seen.has(name)) return;
      seen.add(name);
      const text = await readFile(new URL(name, folderOfSources), 'utf8');
      expect(text.replace(/^import type .*$/gm, ''), name).not.toMatch(/['"]node:/);
      for (const [, specifier] of text.matchAll(/^(?:import|export) (?!type ).*? from '(\..*?)\.js'/gms)) {
        await visit(
          new URL(`${specifier}.ts`, new URL(name, folderOfSources)).href.slice(folderOfSources.href.length),
        );
      }
    };
    await visit('index.ts');
    expect(seen).toContain('http/http-client.ts');
    expect(seen).not.toContain('validate-file.ts');
  });
});
