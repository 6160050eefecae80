import type { FaultProxy } from '@batch-infer/testkit';
import OpenAI, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, MODEL, makeItems, ProofStack, toBatchFile } from './harness.js';
import { CUT_RUN, CUTS, Lanes, LOST, loseAnswer } from './lost-answers.js';

/** R4 and R5 for OpenAI's batches and files, R5 for native jobs. */
const stack = new ProofStack();
const lanes = new Lanes();
let client: Client;

beforeAll(async () => {
  await stack.serve();
  client = stack.client;
  await lanes.open(stack.url);
});

afterAll(async () => {
  await lanes.close();
  await stack.close();
});

const sdks = [
  ['openai 7.x', OpenAI],
  ['openai 6.49', OpenAI6],
] as const;

describe.each(sdks)('%s, unmodified, through a proxy that loses answers', (name, Sdk) => {
  const sdkAt = (proxy: FaultProxy) => new Sdk({ baseURL: `${proxy.url}/v1`, apiKey: 'unused' });

  test(
    `batches.create: the answer is lost after the commit, one job in ${CUTS} of ${CUTS}`,
    CUT_RUN,
    async () => {
      let jobs = 0;
      const lost = await lanes.each(async (cut) => {
        const openai = sdkAt(cut.proxy);
        const mark = `${name} ${cut.index}`;
        const content = toBatchFile(makeItems(`${name}-batch-${cut.index}`, 2));
        const file = await openai.files.create({
          file: await toFile(Buffer.from(content), 'in.jsonl'),
          purpose: 'batch',
        });
        loseAnswer(cut, '/v1/batches');
        const batch = await openai.batches.create({
          input_file_id: file.id,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
          metadata: { cut: mark },
        });
        expect(batch).toMatchObject({ input_file_id: file.id, object: 'batch' });
        const found = await jobsWith('cut', mark);
        expect(found).toEqual([batch.id.replace('batch_', 'job_')]);
        jobs += found.length;
      });
      console.log(`${name}: ${lost} answers to batches.create lost, ${jobs} jobs of ${CUTS} creates`);
      expect(lost).toBe(LOST);
      expect(jobs).toBe(CUTS);
    },
  );

  test(`files.create from a Buffer: one file in ${CUTS} of ${CUTS}`, CUT_RUN, async () => {
    const lost = await lanes.each(async (cut) => {
      const openai = sdkAt(cut.proxy);
      const content = toBatchFile(makeItems(`${name}-file-${cut.index}`, 2));
      loseAnswer(cut, '/v1/files');
      const file = await openai.files.create({
        file: await toFile(Buffer.from(content), `${name.replace(' ', '-')}-${cut.index}.jsonl`),
        purpose: 'batch',
      });
      expect(await (await openai.files.content(file.id)).text()).toBe(content);
    });
    const names: string[] = [];
    for await (const file of sdkAt(lanes.first).files.list({ limit: 100 })) names.push(file.filename);
    const ours = names.filter((file) => file.startsWith(name.replace(' ', '-')));
    console.log(`${name}: ${lost} answers to files.create lost, ${ours.length} files of ${CUTS} creates`);
    expect(lost).toBe(LOST);
    expect(ours).toHaveLength(CUTS);
  });

  test('the same create without a lost answer is a job of its own', async () => {
    const openai = sdkAt(lanes.first);
    const content = toBatchFile(makeItems(`${name}-twice`, 1));
    const file = await openai.files.create({
      file: await toFile(Buffer.from(content), 'in.jsonl'),
      purpose: 'batch',
    });
    const body = {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    } as const;
    const first = await openai.batches.create(body);
    const second = await openai.batches.create(body);
    expect(second.id).not.toBe(first.id);
  });
});

describe('Idempotency-Key', () => {
  test.each([
    ['one input', { input: { messages: [{ role: 'user', content: 'hello' }] } }],
    ['300 items', { items: makeItems('together', 300) }],
  ])('100 creates at once with one key, %s: one job', CUT_RUN, async (kind, input) => {
    const key = `together-${kind.replaceAll(' ', '-')}`;
    const body = { model: MODEL, endpoint: '/v1/chat/completions', metadata: { together: kind }, ...input };
    const ids = await Promise.all(Array.from({ length: 100 }, () => createUntilAnswered(body, key)));
    expect(new Set(ids).size).toBe(1);
    expect(await jobsWith('together', kind)).toEqual([ids[0]]);
  });

  test('100 batches.create at once with one key: one batch', CUT_RUN, async () => {
    const openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'unused', maxRetries: 5 });
    const content = toBatchFile(makeItems('batch-together', 2));
    const file = await openai.files.create({
      file: await toFile(Buffer.from(content), 'in.jsonl'),
      purpose: 'batch',
    });
    const body = {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    } as const;
    const headers = { 'Idempotency-Key': 'batch-together' };
    const batches = await Promise.all(
      Array.from({ length: 100 }, () => openai.batches.create(body, { headers })),
    );
    expect(new Set(batches.map((batch) => batch.id)).size).toBe(1);
  });

  test('a key used for another body is refused with 422, and the SDK does not try again', async () => {
    const body = (id: string) => ({ endpoint: '/v1/chat/completions', items: makeItems(id, 1) });
    const answer = await client.post('/v1/jobs', body('one'), keyed('one-body'));
    expect(answer.status).toBe(202);
    const other = await client.post('/v1/jobs', body('other'), keyed('one-body'));
    expect(other.status).toBe(422);
    expect(other.headers.get('x-should-retry')).toBe('false');

    const proxy = lanes.first;
    const openai = new OpenAI({ baseURL: `${proxy.url}/v1`, apiKey: 'unused' });
    const files = await Promise.all(
      ['one', 'other'].map(async (id) =>
        openai.files.create({
          file: await toFile(Buffer.from(toBatchFile(makeItems(`key-${id}`, 1))), 'in.jsonl'),
          purpose: 'batch',
        }),
      ),
    );
    const [first, second] = files.map(
      (file) =>
        ({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' }) as const,
    );
    if (first === undefined || second === undefined) throw new Error('two files were made');
    await openai.batches.create(first, { headers: keyed('one-batch') });
    const before = proxy.counters().requests;
    await expect(openai.batches.create(second, { headers: keyed('one-batch') })).rejects.toMatchObject({
      status: 422,
    });
    expect(proxy.counters().requests - before).toBe(1);
  });
});

const keyed = (key: string): Record<string, string> => ({ 'idempotency-key': key });

async function createUntilAnswered(body: unknown, key: string): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const answer = await client.post('/v1/jobs', body, keyed(key));
    if (answer.status === 202) return ((await answer.json()) as { id: string }).id;
    expect(answer.status).toBe(409);
    const waitMs = Number(answer.headers.get('retry-after-ms'));
    expect(waitMs).toBeGreaterThan(0);
    await answer.arrayBuffer();
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
  throw new Error('50 times 409');
}

async function jobsWith(key: string, value: string): Promise<string[]> {
  const query = new URLSearchParams({ [`metadata[${key}]`]: value });
  const { data } = await client.get<{ data: { id: string }[] }>(`/v1/jobs?${query}`);
  return data.map((job) => job.id);
}
