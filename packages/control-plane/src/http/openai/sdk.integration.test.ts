import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI7, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answered, broken, openTestApi, refused, type TestApi } from '../api-conformance.js';

let api: TestApi;
let origin: string;
let folder: string;
beforeAll(async () => {
  api = await openTestApi();
  origin = await api.listen();
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-sdk-'));
});
afterAll(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

const line = (customId: string, more: object = {}, body: object = {}) =>
  JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'm', messages: [{ role: 'user', content: 'hi' }], ...body },
    ...more,
  });
const jsonl = (...lines: string[]) => lines.map((text) => `${text}\n`).join('');
const parsed = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map(
      (row) =>
        JSON.parse(row) as {
          id: string;
          custom_id: string;
          response: { status_code: number; body: { error?: unknown } } | null;
          error: { code: string } | null;
        },
    );

describe.each<[string, typeof OpenAI7 | typeof OpenAI6]>([
  ['openai 7', OpenAI7],
  ['openai 6', OpenAI6],
])('%s, unmodified', (_, OpenAI) => {
  const client = () => new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'none' });
  const upload = async (text: string) =>
    await client().files.create({ file: await toFile(Buffer.from(text), 'in.jsonl'), purpose: 'batch' });
  const create = async (fileId: string) =>
    await client().batches.create({
      input_file_id: fileId,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { run: '1' },
    });

  it('lives a whole life: upload from disk, create, poll, download, list, delete', async () => {
    const path = join(folder, 'input.jsonl');
    await writeFile(path, jsonl(line('a'), line('b'), line('c')));
    const file = await client().files.create({ file: createReadStream(path), purpose: 'batch' });
    expect(file).toMatchObject({
      object: 'file',
      purpose: 'batch',
      filename: 'input.jsonl',
      status: 'processed',
      expires_at: null,
    });
    const batch = await create(file.id);
    expect(batch).toMatchObject({
      object: 'batch',
      status: 'in_progress',
      input_file_id: file.id,
      output_file_id: null,
      errors: null,
      metadata: { run: '1' },
    });
    await api.runAll((index) => (index === 0 ? answered('x') : index === 1 ? refused(422) : broken()));
    const ended = await client().batches.retrieve(batch.id);
    expect(ended).toMatchObject({
      status: 'completed',
      request_counts: { total: 3, completed: 1, failed: 2 },
      model: 'm',
    });
    expect(ended.usage).toMatchObject({
      input_tokens: 10,
      output_tokens: 5,
      total_tokens: 15,
      output_tokens_details: { reasoning_tokens: 1 },
    });
    expect(ended.completed_at).toBeGreaterThanOrEqual(ended.created_at);
    const output = parsed(await (await client().files.content(ended.output_file_id ?? '')).text());
    expect(output).toMatchObject([
      { custom_id: 'a', response: { status_code: 200, request_id: 'run-0' }, error: null },
    ]);
    expect(output[0]?.id).toMatch(/^batch_req_/);
    const errors = parsed(await (await client().files.content(ended.error_file_id ?? '')).text());
    expect(errors).toMatchObject([
      {
        custom_id: 'b',
        response: { status_code: 422, body: { error: { message: 'refused by the engine' } } },
        error: null,
      },
      { custom_id: 'c', response: null, error: { code: 'engine_unreachable' } },
    ]);
    const listed: string[] = [];
    for await (const candidate of client().batches.list({ limit: 1 })) listed.push(candidate.id);
    expect(listed).toContain(batch.id);
    const files: string[] = [];
    for await (const candidate of client().files.list({ limit: 2 })) files.push(candidate.id);
    expect(files).toEqual(expect.arrayContaining([file.id, ended.output_file_id, ended.error_file_id]));
    expect(await client().files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
    await expect(client().files.retrieve(file.id)).rejects.toMatchObject({
      status: 404,
      type: 'not_found_error',
    });
  });

  it('reads a refused upload: the first bad line in the message, every bad line beside it', async () => {
    const text = jsonl(line('a'), line('b'), 'nonsense', line('a'), line('c', {}, { stream: true }));
    await expect(upload(text)).rejects.toMatchObject({
      status: 400,
      code: 'invalid_file',
      type: 'invalid_request_error',
      message: expect.stringMatching(/Line 3 is not valid JSON.*\(\+2 more\)/),
    });
  });

  it('gets a batch that failed at once when only its options show that lines are bad', async () => {
    const text = jsonl(
      line('a'),
      line('b', { url: '/v1/embeddings' }, { input: 'x' }),
      line('c', {}, { model: undefined }),
    );
    const batch = await create((await upload(text)).id);
    expect(batch).toMatchObject({
      status: 'failed',
      output_file_id: null,
      error_file_id: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
    });
    expect(batch.failed_at).not.toBeNull();
    expect(batch.errors?.data).toMatchObject([
      { line: 2, code: 'mismatched_url', param: 'url' },
      { line: 3, code: 'missing_model', param: 'body.model' },
    ]);
  });

  it('cancels: what never ran stands in the error file', async () => {
    const batch = await create((await upload(jsonl(line('a'), line('b')))).id);
    await api.runShard((index) => (index === 0 ? answered('x') : null));
    expect((await client().batches.cancel(batch.id)).status).toBe('cancelling');
    await api.finalizer.tick();
    const ended = await client().batches.retrieve(batch.id);
    expect(ended).toMatchObject({
      status: 'cancelled',
      request_counts: { total: 2, completed: 1, failed: 0 },
    });
    const errors = parsed(await (await client().files.content(ended.error_file_id ?? '')).text());
    expect(errors).toMatchObject([{ custom_id: 'b', response: null, error: { code: 'batch_cancelled' } }]);
  });

  it('writes an error file when nothing ran before the window was over', async () => {
    const batch = await create((await upload(jsonl(line('a'), line('b')))).id);
    await api.ledger.stopJob({
      projectId: null,
      id: batch.id.replace('batch_', 'job_'),
      reason: 'expired',
      nowMs: api.nowMs(),
    });
    await api.finalizer.tick();
    const ended = await client().batches.retrieve(batch.id);
    expect(ended).toMatchObject({ status: 'expired', output_file_id: null });
    const errors = parsed(await (await client().files.content(ended.error_file_id ?? '')).text());
    expect(errors.map(({ custom_id, error }) => [custom_id, error?.code])).toEqual([
      ['a', 'batch_expired'],
      ['b', 'batch_expired'],
    ]);
  });

  it('is completed without an output file when every line failed', async () => {
    const batch = await create((await upload(jsonl(line('a')))).id);
    await api.runAll(() => refused());
    const ended = await client().batches.retrieve(batch.id);
    expect(ended).toMatchObject({
      status: 'completed',
      output_file_id: null,
      errors: null,
      request_counts: { failed: 1 },
    });
    expect(ended.error_file_id).toMatch(/^file-/);
  });

  it('keeps an input that a living batch needs, without being retried', async () => {
    const file = await upload(jsonl(line('a')));
    const batch = await create(file.id);
    await expect(client().files.delete(file.id)).rejects.toMatchObject({ status: 409, code: 'file_in_use' });
    await client().batches.cancel(batch.id);
    await api.finalizer.tick();
    expect((await client().files.delete(file.id)).deleted).toBe(true);
  });

  it.each([
    [{ input_file_id: 'file-unknown' }, 'invalid_parameter', 'input_file_id'],
    [{ endpoint: '/v1/nonsense' }, 'invalid_endpoint', 'endpoint'],
    [{ completion_window: 'soon' }, 'invalid_parameter', 'completion_window'],
    [{ input_file_id: undefined }, 'missing_parameter', 'input_file_id'],
  ])('reads the refusal of %j', async (more, code, param) => {
    const file = await upload(jsonl(line('a')));
    const sent = {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      ...more,
    };
    await expect(
      client().batches.create(sent as Parameters<OpenAI7['batches']['create']>[0]),
    ).rejects.toMatchObject({ status: 400, code, param });
  });

  it('has its purpose judged: only batch files have their lines checked', async () => {
    const file = await client().files.create({
      file: await toFile(Buffer.from('free text'), 'notes.txt'),
      purpose: 'user_data',
    });
    await expect(create(file.id)).rejects.toMatchObject({
      status: 400,
      code: 'wrong_purpose',
      param: 'input_file_id',
    });
  });

  it('gets one batch when the answer to its create is cut off', async () => {
    const file = await upload(jsonl(line('a')));
    const before = (await api.ledger.listJobs({ projectId: 'default', limit: 100 })).length;
    let cuts = 0;
    const cutting = new OpenAI({
      baseURL: `${origin}/v1`,
      apiKey: 'none',
      fetch: async (url, init) => {
        const answer = await fetch(url as string, init as RequestInit);
        if (cuts++ > 0) return answer;
        await answer.arrayBuffer();
        throw new TypeError('fetch failed');
      },
    });
    await cutting.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    expect(cuts).toBe(2);
    expect(await api.ledger.listJobs({ projectId: 'default', limit: 100 })).toHaveLength(before + 1);
  });

  it('lists and finds models of live runners', async () => {
    await api.saveRunner(['m', 'org/model-1']);
    const ids: string[] = [];
    for await (const model of client().models.list()) ids.push(model.id);
    expect(ids).toEqual(['m', 'org/model-1']);
    expect(await client().models.retrieve('org/model-1')).toMatchObject({
      id: 'org/model-1',
      owned_by: 'batch-infer',
    });
    await expect(client().models.retrieve('other')).rejects.toMatchObject({ status: 404 });
  });
});
