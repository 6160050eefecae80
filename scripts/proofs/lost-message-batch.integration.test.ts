import Anthropic from '@anthropic-ai/sdk';
import { type FaultProxy, startFaultProxy } from '@batch-infer/testkit';
import Anthropic0 from 'anthropic-sdk-0';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ProofStack, scale } from './harness.js';

/** R4 for message batches: `PROOF_CUTS=1000` for the whole proof. */
const CUTS = scale('PROOF_CUTS', 20);
const LANES = 10;

const stack = new ProofStack();
const proxies: FaultProxy[] = [];

beforeAll(async () => {
  await stack.serve();
  for (let lane = 0; lane < LANES; lane += 1) proxies.push(await startFaultProxy({ target: stack.url }));
});
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await stack.close();
});

const sdks = [
  ['@anthropic-ai/sdk 1.x', Anthropic],
  ['@anthropic-ai/sdk 0.137', Anthropic0],
] as const;

describe.each(sdks)('%s, unmodified, through a proxy that loses answers', (name, Sdk) => {
  const requests = (index: number) => [
    {
      custom_id: `r-${index}`,
      params: {
        model: 'nobody-serves-it',
        max_tokens: 9,
        messages: [{ role: 'user' as const, content: `${name} ${index}` }],
      },
    },
  ];
  const batchIds = async () => {
    const ids: string[] = [];
    const sdk = new Sdk({ baseURL: stack.url, apiKey: 'unused' });
    for await (const { id } of sdk.messages.batches.list({ limit: 1_000 })) ids.push(id);
    return ids;
  };

  test(`the answer to a create is lost after the commit: one batch in ${CUTS} of ${CUTS}`, {
    timeout: 600_000,
  }, async () => {
    const before = (await batchIds()).length;
    const made = new Set<string>();
    let lost = 0;
    await Promise.all(
      proxies.map(async (proxy, lane) => {
        const sdk = new Sdk({ baseURL: proxy.url, apiKey: 'unused' });
        for (let index = lane; index < CUTS; index += LANES) {
          const cutBefore = proxy.counters().cutResponses;
          // Every other time the answer to the retry is lost as well.
          proxy.cutResponseAfterUpstreamAnswered({
            count: 1 + (index % 2),
            method: 'POST',
            pathPrefix: '/v1/messages/batches',
            end: index % 4 < 2 ? 'reset' : 'close',
          });
          made.add((await sdk.messages.batches.create({ requests: requests(index) })).id);
          lost += proxy.counters().cutResponses - cutBefore;
        }
      }),
    );
    const after = await batchIds();
    console.log(`${name}: ${lost} answers lost, ${after.length - before} batches of ${CUTS} creates`);
    expect(made.size).toBe(CUTS);
    expect(after.length - before).toBe(CUTS);
    expect(after).toEqual(expect.arrayContaining([...made]));
  });

  test('100 creates at once with one key: one batch', async () => {
    const sdk = new Sdk({ baseURL: stack.url, apiKey: 'unused', maxRetries: 5 });
    const headers = { 'Idempotency-Key': `together-${name.replaceAll(' ', '-')}` };
    const batches = await Promise.all(
      Array.from({ length: 100 }, () => sdk.messages.batches.create({ requests: requests(0) }, { headers })),
    );
    expect(new Set(batches.map(({ id }) => id)).size).toBe(1);
  });
});
