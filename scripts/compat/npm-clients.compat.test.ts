import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idOfMarker, MODEL, makeItems, ProofStack, toBatchFile, until } from '../proofs/harness.js';
import { npmClients } from './install.js';

/** What of the AI SDK is used here; its types come with the installed package, not with this repository. */
interface BatchFunctions {
  experimental_startBatch(options: object): Promise<{ id: string }>;
  experimental_getBatchStatus(options: object): Promise<{ status: string }>;
  experimental_getBatchResults(options: object): AsyncIterable<{ id: string; status: string; text?: string }>;
  experimental_listBatches(options: object): Promise<{ batches: { id: string }[] }>;
}
type ProviderFactory = (settings: { baseURL: string; apiKey: string }) => object;

const stack = new ProofStack();
let load: <T>(name: string) => Promise<T>;

beforeAll(async () => {
  load = await npmClients();
  await stack.serve();
  await stack.runner(await stack.engine({ slots: 16, serviceTimeMs: 5, faults: [poison] }));
}, 300_000);

afterAll(() => stack.close());

const poison = {
  match: { bodyIncludes: 'poison' },
  action: { kind: 'status', status: 400 },
} as const;

describe.each(['openai-5', 'openai-4'])('%s, unmodified', (name) => {
  it('uploads, creates, polls, reads outputs and errors, lists and deletes', async () => {
    const { default: Client, toFile } = await load<{ default: typeof OpenAI; toFile: typeof OpenAI.toFile }>(
      name,
    );
    const client = new Client({ baseURL: `${stack.url}/v1`, apiKey: 'none' });
    const items = [...makeItems(name, 30), ...makeItems('poison', 1)];
    const file = await client.files.create({
      file: await toFile(Buffer.from(toBatchFile(items)), 'in.jsonl'),
      purpose: 'batch',
    });
    const { id } = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    const batch = await until('the batch ends', 60_000, async () => {
      const now = await client.batches.retrieve(id);
      return now.status === 'completed' ? now : null;
    });
    expect(batch.request_counts).toEqual({ total: 31, completed: 30, failed: 1 });
    const output = await (await client.files.content(batch.output_file_id ?? '')).text();
    const ids = output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).custom_id);
    expect(ids).toEqual(items.slice(0, 30).map((item) => item.custom_id));
    const errors = await (await client.files.content(batch.error_file_id ?? '')).text();
    expect(JSON.parse(errors)).toMatchObject({ custom_id: 'poison-0', response: { status_code: 400 } });
    const listed: string[] = [];
    for await (const one of client.batches.list({ limit: 1 })) listed.push(one.id);
    expect(listed).toContain(id);
  });
});

describe.each([
  ['@ai-sdk/openai', 'createOpenAI'],
  ['@ai-sdk/anthropic', 'createAnthropic'],
])('the batch API of ai 7 over %s', (name, factory) => {
  it('starts, follows, lists and reads a batch', async () => {
    const ai = await load<BatchFunctions>('ai');
    const create = (await load<Record<string, ProviderFactory>>(name))[factory];
    const provider = create?.({ baseURL: `${stack.url}/v1`, apiKey: 'none' }) ?? expect.fail(`no ${factory}`);
    const requests = ['a', 'b', 'c'].map((id) => ({
      id,
      type: 'text',
      model: MODEL,
      prompt: `${id} says so`,
      maxOutputTokens: 20,
    }));
    const batch = await ai.experimental_startBatch({ provider, requests });
    await until('the batch ends', 60_000, async () => {
      const { status } = await ai.experimental_getBatchStatus({ provider, batch });
      return status === 'completed' ? status : null;
    });
    const texts = new Map<string, string>();
    for await (const result of ai.experimental_getBatchResults({ provider, batch })) {
      expect(result.status).toBe('succeeded');
      texts.set(result.id, result.text ?? '');
    }
    expect([...texts.keys()].sort()).toEqual(['a', 'b', 'c']);
    for (const [id, text] of texts) expect(idOfMarker(text.split(':').at(-1) ?? '')).toBe(id);
    const { batches } = await ai.experimental_listBatches({ provider });
    expect(batches.map((one) => one.id)).toContain(batch.id);
  });
});
