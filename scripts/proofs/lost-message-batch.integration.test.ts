import Anthropic from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ProofStack } from './harness.js';
import { CUT_RUN, CUTS, Lanes, LOST, loseAnswer } from './lost-answers.js';

/** R4 for message batches. */
const stack = new ProofStack();
const lanes = new Lanes();

beforeAll(async () => {
  await stack.serve();
  await lanes.open(stack.url);
});
afterAll(async () => {
  await lanes.close();
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

  test(
    `the answer to a create is lost after the commit: one batch in ${CUTS} of ${CUTS}`,
    CUT_RUN,
    async () => {
      const before = (await batchIds()).length;
      const made = new Set<string>();
      const lost = await lanes.each(async (cut) => {
        const sdk = new Sdk({ baseURL: cut.proxy.url, apiKey: 'unused' });
        loseAnswer(cut, '/v1/messages/batches');
        made.add((await sdk.messages.batches.create({ requests: requests(cut.index) })).id);
      });
      const after = await batchIds();
      console.log(`${name}: ${lost} answers lost, ${after.length - before} batches of ${CUTS} creates`);
      expect(lost).toBe(LOST);
      expect(made.size).toBe(CUTS);
      expect(after.length - before).toBe(CUTS);
      expect(after).toEqual(expect.arrayContaining([...made]));
    },
  );
});
