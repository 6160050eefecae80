import { type FaultProxy, startFaultProxy } from '@batch-infer/testkit';
import OpenAI, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, MODEL, makeItems, ProofStack, scale, toBatchFile } from './harness.js';

/** R4: `PROOF_CUTS=100` for the whole proof. */
const CUTS = scale('PROOF_CUTS', 20);
const LANES = 10;
const RUN_LIMIT = { timeout: 300_000 };

const stack = new ProofStack();
const proxies: FaultProxy[] = [];
let client: Client;

beforeAll(async () => {
  await stack.serve();
  client = stack.client;
  proxies.push(
    ...(await Promise.all(Array.from({ length: LANES }, () => startFaultProxy({ target: stack.url })))),
  );
});

afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await stack.close();
});

interface Create {
  readonly proxy: FaultProxy;
  readonly index: number;
}

/** Runs `create` for every index, one at a time in each lane: a proxy's cut must strike the lane's own request. */
async function inLanes(count: number, create: (at: Create) => Promise<void>): Promise<void> {
  await Promise.all(
    proxies.map(async (proxy, lane) => {
      for (let index = lane; index < count; index += LANES) await create({ proxy, index });
    }),
  );
}

const sdks = [
  ['openai 7.x', OpenAI],
  ['openai 6.49', OpenAI6],
] as const;

describe.each(sdks)('%s, unmodified, through a proxy that loses answers', (name, Sdk) => {
  const sdkAt = (proxy: FaultProxy) => new Sdk({ baseURL: `${proxy.url}/v1`, apiKey: 'unused' });

  test(
    `batches.create: the answer is lost after the commit, one job in ${CUTS} of ${CUTS}`,
    RUN_LIMIT,
    async () => {
      const seen = { jobs: 0, lost: 0 };
      await inLanes(CUTS, async ({ proxy, index }) => {
        const openai = sdkAt(proxy);
        const content = toBatchFile(makeItems(`${name}-batch-${index}`, 2));
        const file = await openai.files.create({
          file: await toFile(Buffer.from(content), 'in.jsonl'),
          purpose: 'batch',
        });
        const before = proxy.counters().cutResponses;
        // Every other time the answer to the retry is lost as well.
        const rule = { count: 1 + (index % 2), method: 'POST', pathPrefix: '/v1/batches' };
        proxy.cutResponseAfterUpstreamAnswered({ ...rule, end: index % 4 < 2 ? 'reset' : 'close' });
        const batch = await openai.batches.create({
          input_file_id: file.id,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
          metadata: { cut: `${name} ${index}` },
        });
        expect(batch).toMatchObject({ input_file_id: file.id, object: 'batch' });
        seen.lost += proxy.counters().cutResponses - before;
        const jobs = await jobsWith('cut', `${name} ${index}`);
        expect(jobs).toEqual([batch.id.replace('batch_', 'job_')]);
        seen.jobs += jobs.length;
      });
      console.log(
        `${name}: ${seen.lost} answers to batches.create lost, ${seen.jobs} jobs of ${CUTS} creates`,
      );
      expect(seen.jobs).toBe(CUTS);
    },
  );

  test(`files.create from a Buffer: one file in ${CUTS} of ${CUTS}`, RUN_LIMIT, async () => {
    let lost = 0;
    await inLanes(CUTS, async ({ proxy, index }) => {
      const openai = sdkAt(proxy);
      const filename = `${name.replace(' ', '-')}-${index}.jsonl`;
      const content = toBatchFile(makeItems(`${name}-file-${index}`, 2));
      const before = proxy.counters().cutResponses;
      proxy.cutResponseAfterUpstreamAnswered({ method: 'POST', pathPrefix: '/v1/files' });
      const file = await openai.files.create({
        file: await toFile(Buffer.from(content), filename),
        purpose: 'batch',
      });
      lost += proxy.counters().cutResponses - before;
      expect(await (await openai.files.content(file.id)).text()).toBe(content);
    });
    const names: string[] = [];
    for await (const file of sdkAt(proxyAt(0)).files.list({ limit: 100 })) names.push(file.filename);
    const ours = names.filter((file) => file.startsWith(name.replace(' ', '-')));
    console.log(`${name}: ${lost} answers to files.create lost, ${ours.length} files of ${CUTS} creates`);
    expect(ours).toHaveLength(CUTS);
  });

  test('the same create without a lost answer is a job of its own', async () => {
    const openai = sdkAt(proxyAt(0));
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
  ])('100 creates at once with one key, %s: one job', RUN_LIMIT, async (kind, input) => {
    const key = `together-${kind.replaceAll(' ', '-')}`;
    const body = { model: MODEL, endpoint: '/v1/chat/completions', metadata: { together: kind }, ...input };
    const ids = await Promise.all(Array.from({ length: 100 }, () => createUntilAnswered(body, key)));
    expect(new Set(ids).size).toBe(1);
    expect(await jobsWith('together', kind)).toEqual([ids[0]]);
  });

  test('100 batches.create at once with one key: one batch', RUN_LIMIT, async () => {
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

    const proxy = proxyAt(0);
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

function proxyAt(index: number): FaultProxy {
  const proxy = proxies[index];
  if (proxy === undefined) throw new RangeError('no such proxy');
  return proxy;
}

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
