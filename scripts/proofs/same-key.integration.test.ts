import Anthropic from '@anthropic-ai/sdk';
import { BatchInfer } from '@batch-infer/sdk';
import { type FaultProxy, startFaultProxy } from '@batch-infer/testkit';
import Anthropic0 from 'anthropic-sdk-0';
import OpenAI, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MODEL, makeItems, ProofStack, toBatchFile } from './harness.js';

/** R5: creates with one `Idempotency-Key`, by the official SDKs and by ours. */
const AT_ONCE = 100;
const URL_OF_CHAT = '/v1/chat/completions';

const stack = new ProofStack();
/** Counts requests: a refusal must not be sent again. */
let counting: FaultProxy;

beforeAll(async () => {
  await stack.serve();
  counting = await startFaultProxy({ target: stack.url });
});
afterAll(async () => {
  await counting.close();
  await stack.close();
});

/** @returns the id of what was made, in its dialect. */
type Create = (key: string) => Promise<string>;
/** A client of a server, and one of its creates: the content is fixed by `content`, the key is not. */
type Prepare = (origin: string, content: string) => Promise<Create>;

const overOpenAI = (Sdk: typeof OpenAI | typeof OpenAI6): Prepare => {
  return async (origin, content) => {
    const sdk = new Sdk({ baseURL: `${origin}/v1`, apiKey: 'unused', maxRetries: 5 }) as OpenAI;
    const { id } = await sdk.files.create({
      file: await toFile(Buffer.from(toBatchFile(makeItems(content, 2))), 'in.jsonl'),
      purpose: 'batch',
    });
    const body = { input_file_id: id, endpoint: URL_OF_CHAT, completion_window: '24h' } as const;
    return async (key) => (await sdk.batches.create(body, { headers: { 'Idempotency-Key': key } })).id;
  };
};

const overAnthropic = (Sdk: typeof Anthropic | typeof Anthropic0): Prepare => {
  return async (origin, content) => {
    const sdk = new Sdk({ baseURL: origin, apiKey: 'unused', maxRetries: 5 }) as Anthropic;
    const messages = [{ role: 'user' as const, content }];
    const requests = [{ custom_id: 'a', params: { model: MODEL, max_tokens: 9, messages } }];
    return async (key) =>
      (await sdk.messages.batches.create({ requests }, { headers: { 'Idempotency-Key': key } })).id;
  };
};

const overNative = (count: number): Prepare => {
  return async (origin, content) => {
    const { jobs } = new BatchInfer({ baseUrl: origin, maxRetries: 10 });
    const items = makeItems(content, count).map(({ custom_id, body }) => ({ customId: custom_id, body }));
    return async (idempotencyKey) => (await jobs.submit({ items, model: MODEL, idempotencyKey })).id;
  };
};

const clients: [string, Prepare][] = [
  ['openai 7.x', overOpenAI(OpenAI)],
  ['openai 6.49', overOpenAI(OpenAI6)],
  ['@anthropic-ai/sdk 1.x', overAnthropic(Anthropic)],
  ['@anthropic-ai/sdk 0.137', overAnthropic(Anthropic0)],
  ['@batch-infer/sdk, one item', overNative(1)],
  ['@batch-infer/sdk, 300 items', overNative(300)],
];

/** Ids of all jobs, of whatever dialect. */
async function jobIds(): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of new BatchInfer({ baseUrl: stack.url }).jobs.list()) ids.push(id);
  return ids;
}

describe.each(clients)('%s', (name, prepare) => {
  const key = name.replaceAll(/[^\w.-]+/g, '-');

  test(`${AT_ONCE} creates at once with one key: one job`, async () => {
    const create = await prepare(stack.url, `${key} together`);
    const before = await jobIds();
    const ids = await Promise.all(Array.from({ length: AT_ONCE }, () => create(`${key}-together`)));
    const made = (await jobIds()).filter((id) => !before.includes(id));
    console.log(`${name}: ${ids.length} creates with one key, ${made.length} job`);
    expect(new Set(ids).size).toBe(1);
    expect(made).toEqual([ids[0]?.replace(/^(msg)?batch_/, 'job_')]);
  });

  test('another body under the same key is refused with 422, and is not sent again', async () => {
    const first = await prepare(stack.url, `${key} first`);
    const other = await prepare(counting.url, `${key} other`);
    await first(`${key}-used`);
    const before = [await jobIds(), counting.counters().requests] as const;
    await expect(other(`${key}-used`)).rejects.toMatchObject({ status: 422 });
    expect([await jobIds(), counting.counters().requests]).toEqual([before[0], before[1] + 1]);
  });
});
