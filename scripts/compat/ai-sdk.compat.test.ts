import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idOfMarker, MODEL, ProofStack, until } from '../proofs/harness.js';
import { npmClients } from './install.js';
import { endWindow, HELD, POISON } from './python-programs.js';

/** The whole lives of batches, seen through the batch API of `ai` 7 over both its providers, unmodified. */

/** What of the AI SDK is used here; its types come with the installed package, not with this repository. */
interface BatchFunctions {
  experimental_startBatch(options: object): Promise<Batch & { warnings: unknown[] }>;
  experimental_getBatchStatus(options: object): Promise<Batch>;
  experimental_getBatchResults(options: object): AsyncIterable<BatchResult>;
  experimental_listBatches(options: object): Promise<{ batches: Batch[]; nextCursor?: string }>;
  experimental_cancelBatch(options: object): Promise<object>;
  generateText(options: object): Promise<{ text: string; usage: { totalTokens: number } }>;
  streamText(options: object): { text: PromiseLike<string> };
  APICallError: { isInstance(error: unknown): boolean };
}
interface Batch {
  readonly id: string;
  readonly status: 'pending' | 'completed' | 'failed';
  readonly rawStatus: string;
  readonly requestCounts: { total: number; pending: number; completed: number; failed: number };
}
interface BatchResult {
  readonly id: string;
  readonly status: string;
  readonly text?: string;
  readonly error?: { readonly message: string; readonly code?: string; readonly type?: string };
}
type Provider = ((model: string) => object) & { chat(model: string): object };
type ProviderFactory = (settings: { baseURL: string; apiKey: string }) => Provider;

const stack = new ProofStack();
let ai: BatchFunctions;
let load: <T>(name: string) => Promise<T>;

beforeAll(async () => {
  load = await npmClients();
  ai = await load<BatchFunctions>('ai');
  await stack.serve();
  await stack.runner(await stack.engine({ slots: 64, serviceTimeMs: 5, faults: [POISON, HELD] }));
}, 300_000);

afterAll(() => stack.close());

const providers = [
  // Upstream calls everything failed that did not complete by itself, and so does its provider.
  {
    name: '@ai-sdk/openai',
    factory: 'createOpenAI',
    job: /^batch_/,
    ends: { done: 'completed', cancelled: 'cancelled', expired: 'expired', stopped: 'failed' },
  },
  {
    name: '@ai-sdk/anthropic',
    factory: 'createAnthropic',
    job: /^msgbatch_/,
    ends: { done: 'ended', cancelled: 'ended', expired: 'ended', stopped: 'completed' },
  },
];

describe.each(providers)('the batch API of ai 7 over $name', ({ name, factory, job, ends }) => {
  let provider: Provider;

  beforeAll(async () => {
    const create = (await load<Record<string, ProviderFactory>>(name))[factory];
    provider = create?.({ baseURL: `${stack.url}/v1`, apiKey: 'none' }) ?? expect.fail(`no ${factory}`);
  });

  const ids = (word: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${word}-${index}`);
  const start = async (requestIds: readonly string[], model = MODEL) => {
    const batch = await ai.experimental_startBatch({
      provider,
      requests: requestIds.map((id) => ({
        id,
        type: 'text',
        model,
        prompt: `${id} says so`,
        maxOutputTokens: 64,
      })),
    });
    expect(batch.warnings).toEqual([]);
    return batch;
  };
  const statusOf = (batch: Batch) => ai.experimental_getBatchStatus({ provider, batch });
  const ended = (batch: Batch) =>
    until(`the end of ${batch.id}`, 60_000, async () => {
      const now = await statusOf(batch);
      return now.status === 'pending' ? null : now;
    });
  const midway = (batch: Batch, completed: number) =>
    until(`${completed} answers of ${batch.id}`, 60_000, async () =>
      (await statusOf(batch)).requestCounts.completed === completed ? true : null,
    );
  const results = async (batch: Batch) => {
    const read: BatchResult[] = [];
    for await (const result of ai.experimental_getBatchResults({ provider, batch })) read.push(result);
    return read;
  };
  const endsOf = async (batch: Batch) => (await results(batch)).map(({ id, status }) => [id, status]);
  const all = (end: string, word: string, count: number) => ids(word, count).map((id) => [id, end]);
  const halfHeld = () => [...ids('good', 3), ...ids('held', 3)];

  it('completes with answers and failed requests', async () => {
    const batch = await start([...ids('good', 20), ...ids('poison', 2)]);
    expect(batch.id).toMatch(job);
    expect(await ended(batch)).toMatchObject({
      status: 'completed',
      rawStatus: ends.done,
      requestCounts: { total: 22, pending: 0, completed: 20, failed: 2 },
    });
    const read = await results(batch);
    expect(read.map(({ id, status }) => [id, status])).toEqual([
      ...all('succeeded', 'good', 20),
      ...all('failed', 'poison', 2),
    ]);
    for (const { id, text } of read.slice(0, 20)) {
      expect(idOfMarker(text?.split(':').at(-1) ?? '')).toBe(id);
    }
    expect(read.at(-1)?.error?.message).toBeTruthy();
  });

  it('completes when every request failed', async () => {
    const batch = await start(ids('poison', 3));
    expect(await ended(batch)).toMatchObject({
      status: 'completed',
      requestCounts: { completed: 0, failed: 3 },
    });
    expect(await endsOf(batch)).toEqual(all('failed', 'poison', 3));
  });

  it('is cancelled midway and keeps what is finished', async () => {
    const batch = await start(halfHeld());
    await midway(batch, 3);
    await expect(results(batch)).rejects.toThrow('is not complete');
    await ai.experimental_cancelBatch({ provider, batch });
    expect(await ended(batch)).toMatchObject({ status: ends.stopped, rawStatus: ends.cancelled });
    expect(await endsOf(batch)).toEqual([...all('succeeded', 'good', 3), ...all('cancelled', 'held', 3)]);
  });

  it('expires at the end of its window and keeps what is finished', async () => {
    const batch = await start(halfHeld());
    await midway(batch, 3);
    endWindow(stack, batch.id.replace(job, 'job_'));
    expect(await ended(batch)).toMatchObject({ status: ends.stopped, rawStatus: ends.expired });
    expect(await endsOf(batch)).toEqual([...all('succeeded', 'good', 3), ...all('expired', 'held', 3)]);
  });

  it('is refused with what is bad, as the error for calls', async () => {
    const refusal = await start(['no-model'], '').catch((error: unknown) => error);
    expect(ai.APICallError.isInstance(refusal)).toBe(true);
    expect(refusal).toMatchObject({
      statusCode: 400,
      isRetryable: false,
      message: expect.stringMatching(/^(Line 1|requests\.0).*model/),
    });
  });

  it('is not found under another id, as the error for calls', async () => {
    const batch = await start(ids('found', 1));
    const missing = await statusOf({ ...batch, id: `${batch.id.slice(0, -4)}0000` }).catch((error) => error);
    expect(ai.APICallError.isInstance(missing)).toBe(true);
    expect(missing).toMatchObject({ statusCode: 404, message: expect.stringContaining('has the id') });
  });

  it('is listed page by page, each once, newest first', async () => {
    const made: string[] = [];
    for (const id of ids('page', 5)) made.unshift((await start([id])).id);
    const listed: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await ai.experimental_listBatches({ provider, limit: 2, ...(cursor && { cursor }) });
      listed.push(...page.batches.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(new Set(listed).size).toBe(listed.length);
    expect(listed.filter((id) => made.includes(id))).toEqual(made);
  });

  it('answers plain calls, whole and streamed', async () => {
    const { text, usage } = await ai.generateText({
      model: provider(MODEL),
      prompt: 'plain says so',
      maxOutputTokens: 64,
    });
    expect(text).toContain('plain says so');
    expect(usage.totalTokens).toBeGreaterThan(0);
    for (const model of [provider(MODEL), provider.chat(MODEL)]) {
      const options = { model, prompt: 'streamed says so', maxOutputTokens: 64 };
      expect(await ai.streamText(options).text).toContain('streamed says so');
    }
  });
});
