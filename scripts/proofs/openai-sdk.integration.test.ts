import { execFile } from 'node:child_process';
import { createReadStream, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { EngineSim } from '@batch-infer/testkit';
import { checkOutcome, splitLines } from '@batch-infer/testkit';
import OpenAI, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Item, makeItems, ProofStack, toBatchFile, until } from './harness.js';

const run = promisify(execFile);
const pythonPackages = fileURLToPath(new URL('../../.local/python-openai', import.meta.url));
const pythonProgram = fileURLToPath(new URL('./openai-life-cycle.py', import.meta.url));

const stack = new ProofStack();
let engine: EngineSim;

beforeAll(async () => {
  engine = await stack.engine({
    serviceTimeMs: 20,
    faults: [
      { match: { bodyIncludes: 'poison' }, action: { kind: 'status', status: 400 } },
      { match: { bodyIncludes: 'slow' }, action: { kind: 'slow', factor: 500 } },
    ],
  });
  await stack.serve();
  await stack.runner(engine);
});

afterAll(() => stack.close());

const sdks = [
  ['openai 7.x', OpenAI],
  ['openai 6.49', OpenAI6],
] as const;

describe.each(sdks)('%s, unmodified', (name, Sdk) => {
  const label = name.replaceAll(/\W/g, '-');
  const create = () => new Sdk({ baseURL: `${stack.url}/v1`, apiKey: 'unused' });

  const uploads = {
    'a read stream': (content: string) => {
      const path = join(stack.folder, `${label}.jsonl`);
      writeFileSync(path, content);
      return createReadStream(path);
    },
    'a Buffer': (content: string) => toFile(Buffer.from(content), 'in.jsonl'),
  };

  test.each(Object.entries(uploads))(
    'upload from %s, create, poll, download output and error file, delete',
    async (way, upload) => {
      const openai = create();
      const items = withPoison(makeItems(`${label}-${way.replaceAll(' ', '-')}`, 40));
      const content = toBatchFile(items);
      const file = await openai.files.create({ file: await upload(content), purpose: 'batch' });
      expect(file).toMatchObject({ object: 'file', status: 'processed', bytes: Buffer.byteLength(content) });
      expect(await openai.files.retrieve(file.id)).toMatchObject({ id: file.id, purpose: 'batch' });

      const created = await openai.batches.create({
        input_file_id: file.id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
        metadata: { suite: label },
      });
      expect(created).toMatchObject({
        output_file_id: null,
        error_file_id: null,
        metadata: { suite: label },
      });
      const batch = await until('the batch is completed', 30_000, async () => {
        const now = await openai.batches.retrieve(created.id);
        return now.status === 'completed' ? now : null;
      });
      expect(batch.request_counts).toEqual({ total: 40, completed: 39, failed: 1 });
      expect(batch.usage?.total_tokens).toBeGreaterThan(0);
      const [outputId, errorId] = [batch.output_file_id ?? '', batch.error_file_id ?? ''];
      const outputLines = splitLines(await (await openai.files.content(outputId)).text());
      const errorLines = splitLines(await (await openai.files.content(errorId)).text());
      checkOutcome({ inputCustomIds: items.map((item) => item.custom_id), outputLines, errorLines });
      expect(JSON.parse(errorLines[0] ?? '')).toMatchObject({ response: { status_code: 400 }, error: null });

      for (const id of [file.id, outputId, errorId]) {
        expect(await openai.files.delete(id)).toEqual({ id, object: 'file', deleted: true });
        await expect(openai.files.retrieve(id)).rejects.toMatchObject({ status: 404 });
      }
    },
  );

  test('cancel keeps what is finished, and the rest is in the error file', async () => {
    const openai = create();
    const items = [...makeItems(`${label}-quick`, 20), ...makeItems(`${label}-slow`, 20)];
    const file = await openai.files.create({
      file: await toFile(Buffer.from(toBatchFile(items)), 'in.jsonl'),
      purpose: 'batch',
    });
    const { id } = await openai.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    await until('the quick half is done', 30_000, async () =>
      (await openai.batches.retrieve(id)).request_counts?.completed === 20 ? true : null,
    );
    expect((await openai.batches.cancel(id)).status).toMatch(/^cancell(ing|ed)$/);
    const batch = await until('the batch is cancelled', 30_000, async () => {
      const now = await openai.batches.retrieve(id);
      return now.status === 'cancelled' ? now : null;
    });
    const outputLines = splitLines(await (await openai.files.content(batch.output_file_id ?? '')).text());
    const errorLines = splitLines(await (await openai.files.content(batch.error_file_id ?? '')).text());
    const inputCustomIds = items.map((item) => item.custom_id);
    expect(checkOutcome({ inputCustomIds, outputLines, errorLines })).toMatchObject({
      succeeded: 20,
      cancelled: 20,
    });
    await until('the engine is idle', 5_000, () => (engine.stats().inFlight === 0 ? true : null));
  });

  test('a file with bad lines is refused with the lines named', async () => {
    const openai = create();
    const content = `${toBatchFile(makeItems(`${label}-bad`, 2))}{"custom_id":"x"\n`;
    const refused = openai.files.create({
      file: await toFile(Buffer.from(content), 'in.jsonl'),
      purpose: 'batch',
    });
    await expect(refused).rejects.toMatchObject({ status: 400, message: expect.stringContaining('ine 3') });
  });

  test('lists page through every batch and every file exactly once', async () => {
    const openai = create();
    const file = await openai.files.create({
      file: await toFile(Buffer.from(toBatchFile(makeItems(`${label}-page`, 1))), 'in.jsonl'),
      purpose: 'batch',
    });
    const made = new Set<string>();
    for (let index = 0; index < 5; index += 1) {
      const batch = await openai.batches.create({
        input_file_id: file.id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      });
      made.add(batch.id);
    }
    const batches: string[] = [];
    for await (const batch of openai.batches.list({ limit: 2 })) batches.push(batch.id);
    expect(new Set(batches).size).toBe(batches.length);
    expect(batches).toEqual(expect.arrayContaining([...made]));
    const files: string[] = [];
    for await (const listed of openai.files.list({ limit: 2, purpose: 'batch' })) files.push(listed.id);
    expect(new Set(files).size).toBe(files.length);
    expect(files).toContain(file.id);
  });

  test('the models of the runners are listed', async () => {
    const models: string[] = [];
    for await (const model of create().models.list()) models.push(model.id);
    expect(models).toContain('sim-model');
  });
});

describe('PyPI openai, unmodified', () => {
  test('whole life cycle', { timeout: 180_000 }, async ({ skip }) => {
    const missing = await installPython();
    if (missing !== null) {
      if (process.env.CI !== undefined) throw new Error(missing);
      console.warn(`NOT PROVED, ${missing}`);
      skip(missing);
    }
    const environment = { ...process.env, PYTHONPATH: pythonPackages };
    const { stdout } = await run('python3', [pythonProgram, `${stack.url}/v1`], {
      env: environment,
      timeout: 90_000,
    });
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toEqual({
      completed: 40,
      failed: 1,
      cancelled: 'cancelled',
      cancelledLines: 20,
      pagedTwice: 0,
      deleted: true,
    });
  });
});

/** @returns what is missing, or null */
async function installPython(): Promise<string | null> {
  try {
    const { stdout } = await run('python3', ['-c', 'import sys; print(sys.version_info >= (3, 9))']);
    if (stdout.trim() !== 'True') return 'python3 is older than 3.9';
  } catch {
    return 'there is no python3';
  }
  if (existsSync(join(pythonPackages, 'openai'))) return null;
  const parameters = ['-m', 'pip', 'install', '--quiet', '--target', pythonPackages, 'openai'];
  try {
    await run('python3', parameters, { timeout: 120_000 });
    return null;
  } catch (error) {
    return `PyPI openai cannot be installed: ${String(error).slice(0, 500)}`;
  }
}

function withPoison(items: readonly Item[]): Item[] {
  return items.map((item, index) =>
    index === 7 ? { ...item, body: { ...item.body, messages: [{ role: 'user', content: 'poison' }] } } : item,
  );
}
