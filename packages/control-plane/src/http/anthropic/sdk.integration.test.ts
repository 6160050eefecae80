import { createHash } from 'node:crypto';
import Anthropic1 from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, broken, openTestApi, refused, type TestApi } from '../api-conformance.js';

let api: TestApi;
let origin: string;
beforeAll(async () => {
  api = await openTestApi();
  origin = await api.listen();
});
// What a test leaves open is done, so that the next one is the only one with work.
afterEach(() => api.runAll(() => said('rest')));
afterAll(async () => {
  await api.close();
});

const said = (text: string): Answer => ({
  status: 200,
  body: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'm',
    content: [{ type: 'text', text }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 3, output_tokens: 1 },
  },
});
const request = (customId: string, more: object = {}) => ({
  custom_id: customId,
  params: {
    model: 'm',
    max_tokens: 16,
    temperature: 0.1,
    messages: [{ role: 'user' as const, content: 'hi' }],
    ...more,
  },
});
const jobIdOf = (batchId: string) => batchId.replace('msgbatch_', 'job_');

describe.each<[string, typeof Anthropic1 | typeof Anthropic0]>([
  ['@anthropic-ai/sdk 1', Anthropic1],
  ['@anthropic-ai/sdk 0', Anthropic0],
])('%s, unmodified', (_, Sdk) => {
  const create = () => new Sdk({ baseURL: origin, apiKey: 'none' }) as Anthropic1;
  const client = () => ({ batches: create().messages.batches, models: create().models });
  const resultsOf = async (id: string) => {
    const results: Anthropic1.Messages.MessageBatchIndividualResponse[] = [];
    for await (const result of await create().messages.batches.results(id)) results.push(result);
    return results;
  };

  it('lives a whole life: create, poll, read results, list, delete', async () => {
    const created = await client().batches.create({ requests: ['a', 'b', 'c'].map((id) => request(id)) });
    expect(created).toMatchObject({
      type: 'message_batch',
      processing_status: 'in_progress',
      request_counts: { processing: 3, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
      ended_at: null,
      archived_at: null,
      cancel_initiated_at: null,
      results_url: null,
    });
    expect(created.id).toMatch(/^msgbatch_[0-9a-f]{32}$/);
    const { data, response } = await client().batches.retrieve(created.id).withResponse();
    expect(data.id).toBe(created.id);
    expect(response.headers.get('retry-after')).toBe('10');
    expect(response.headers.get('request-id')).toMatch(/^req_/);
    expect(response.headers.get('x-request-id')).toBe(response.headers.get('request-id'));

    await api.runShard((index) => (index === 0 ? said('hello \u2028 there') : null));
    expect((await client().batches.retrieve(created.id)).request_counts).toMatchObject({
      processing: 2,
      succeeded: 1,
    });
    await api.runAll((index) => (index === 1 ? refused(422) : broken()));
    const { data: ended, response: endedResponse } = await client()
      .batches.retrieve(created.id)
      .withResponse();
    expect(ended).toMatchObject({
      processing_status: 'ended',
      request_counts: { processing: 0, succeeded: 1, errored: 2, canceled: 0, expired: 0 },
      results_url: `${origin}/v1/messages/batches/${created.id}/results`,
    });
    expect(endedResponse.headers.get('retry-after')).toBeNull();
    expect(Date.parse(ended.ended_at ?? '')).toBeGreaterThanOrEqual(Date.parse(ended.created_at));
    expect(Date.parse(ended.expires_at) - Date.parse(ended.created_at)).toBe(86_400_000);

    expect(await resultsOf(created.id)).toMatchObject([
      {
        custom_id: 'a',
        result: {
          type: 'succeeded',
          message: { type: 'message', content: [{ type: 'text', text: 'hello \u2028 there' }] },
        },
      },
      {
        custom_id: 'b',
        result: {
          type: 'errored',
          error: {
            type: 'error',
            error: { type: 'invalid_request_error', message: 'refused by the engine' },
            request_id: 'run-1',
          },
        },
      },
      { custom_id: 'c', result: { type: 'errored', error: { error: { type: 'api_error' } } } },
    ]);

    const listed: string[] = [];
    for await (const batch of client().batches.list({ limit: 1 })) listed.push(batch.id);
    expect(listed).toContain(created.id);
    expect(new Set(listed).size).toBe(listed.length);
    expect(await client().batches.delete(created.id)).toEqual({
      id: created.id,
      type: 'message_batch_deleted',
    });
    await expect(client().batches.retrieve(created.id)).rejects.toMatchObject({
      status: 404,
      error: { type: 'error', error: { type: 'not_found_error' } },
    });
    expect((await api.blobKeys()).filter((key) => key.includes(jobIdOf(created.id)))).toEqual([]);
  });

  it('cancels: what was finished stays, the rest is canceled', async () => {
    const { id } = await client().batches.create({ requests: [request('a'), request('b')] });
    await expect(client().batches.delete(id)).rejects.toMatchObject({ status: 409 });
    await expect(client().batches.results(id)).rejects.toThrow();
    await api.runShard((index) => (index === 0 ? said('x') : null));
    const canceling = await client().batches.cancel(id);
    expect(canceling).toMatchObject({
      processing_status: 'canceling',
      request_counts: { processing: 1, succeeded: 1 },
      results_url: null,
    });
    expect(canceling.cancel_initiated_at).not.toBeNull();
    expect((await client().batches.cancel(id)).processing_status).toBe('canceling');
    await api.finalizer.tick();
    expect(await client().batches.retrieve(id)).toMatchObject({
      processing_status: 'ended',
      request_counts: { processing: 0, succeeded: 1, canceled: 1 },
    });
    expect(await resultsOf(id)).toMatchObject([
      { custom_id: 'a', result: { type: 'succeeded' } },
      { custom_id: 'b', result: { type: 'canceled' } },
    ]);
  });

  it('expires', async () => {
    const { id } = await client().batches.create({ requests: [request('a'), request('b')] });
    const stop = { projectId: null, id: jobIdOf(id), reason: 'expired', nowMs: api.nowMs() } as const;
    await api.ledger.stopJob(stop);
    expect((await client().batches.retrieve(id)).processing_status).toBe('in_progress');
    await api.finalizer.tick();
    expect(await client().batches.retrieve(id)).toMatchObject({
      processing_status: 'ended',
      cancel_initiated_at: null,
      request_counts: { processing: 0, expired: 2 },
    });
    expect(await resultsOf(id)).toEqual([
      { custom_id: 'a', result: { type: 'expired' } },
      { custom_id: 'b', result: { type: 'expired' } },
    ]);
  });

  it('ends when every request failed', async () => {
    const { id } = await client().batches.create({ requests: [request('a')] });
    await api.runAll(() => refused());
    expect(await client().batches.retrieve(id)).toMatchObject({
      processing_status: 'ended',
      request_counts: { processing: 0, errored: 1 },
    });
    expect(await resultsOf(id)).toMatchObject([{ custom_id: 'a', result: { type: 'errored' } }]);
  });

  it('reads a refusal: the first bad request in the message, every one beside it', async () => {
    const requests = [request('fine'), request('no spaces'), request('fine')];
    await expect(client().batches.create({ requests })).rejects.toMatchObject({
      status: 400,
      error: {
        type: 'error',
        error: {
          type: 'invalid_request_error',
          message: expect.stringMatching(/^requests\.1\.custom_id must .*\(\+1 more\)$/),
        },
        x_batch_infer: {
          code: 'invalid_file',
          errors: [{ param: 'requests.1.custom_id' }, { param: 'requests.2.custom_id' }],
        },
      },
    });
  });

  it('gets one batch when the answer to its create is cut off', async () => {
    const before = (await api.ledger.listJobs({ projectId: 'default', limit: 1_000 })).length;
    let cuts = 0;
    const cutting = new Sdk({
      baseURL: origin,
      apiKey: 'none',
      fetch: async (url: unknown, init: unknown) => {
        const answer = await fetch(url as string, init as RequestInit);
        if (cuts++ > 0) return answer;
        await answer.arrayBuffer();
        throw new TypeError('fetch failed');
      },
    }) as Anthropic1;
    const unique = createHash('sha1').update(Sdk.toString()).digest('hex');
    await cutting.messages.batches.create({ requests: [request(unique)] });
    expect(cuts).toBe(2);
    expect(await api.ledger.listJobs({ projectId: 'default', limit: 1_000 })).toHaveLength(before + 1);
  });

  it('pages backwards and forwards', async () => {
    const made: string[] = [];
    for (let index = 0; index < 4; index += 1) {
      made.unshift((await client().batches.create({ requests: [request(`p${index}`)] })).id);
    }
    const after = await client().batches.list({ after_id: made[0] ?? '', limit: 2 });
    expect(after.data.map(({ id }) => id)).toEqual(made.slice(1, 3));
    expect(after.has_more).toBe(true);
    const before = await client().batches.list({ before_id: made[3] ?? '', limit: 2 });
    expect(before.data.map(({ id }) => id)).toEqual(made.slice(1, 3));
    expect(before.has_more).toBe(true);
    const backwards: string[] = [];
    for await (const { id } of client().batches.list({ before_id: made[3] ?? '', limit: 1 }))
      backwards.push(id);
    expect(backwards).toEqual(made.slice(0, 3).reverse());
  });

  it('lists and finds models in the words of its API', async () => {
    await api.saveRunner(['m', 'org/model-1']);
    const ids: string[] = [];
    for await (const model of client().models.list()) ids.push(model.id);
    expect(ids).toEqual(['m', 'org/model-1']);
    expect(await client().models.retrieve('m')).toMatchObject({ type: 'model', id: 'm', display_name: 'm' });
    await expect(client().models.retrieve('other')).rejects.toMatchObject({
      status: 404,
      error: { type: 'error', error: { type: 'not_found_error' } },
    });
  });
});
