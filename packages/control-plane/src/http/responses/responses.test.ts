import OpenAI from 'openai';
import OpenAI6 from 'openai-6';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JobWatch } from '../../events/job-watch.js';
import { broken, refused } from '../api-conformance.js';
import { good, openSyncWorld, type SyncWorld } from '../sync/sync-fixture.js';

const RESPONSE = {
  id: 'resp_of-the-engine',
  object: 'response',
  created_at: 1,
  status: 'completed',
  model: 'm',
  output: [
    {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'forty-two', annotations: [], logprobs: null }],
    },
  ],
  usage: {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 2, cache_write_tokens: 0 },
    output_tokens: 5,
    output_tokens_details: { reasoning_tokens: 1 },
    total_tokens: 15,
  },
  service_tier: 'default',
};

/** Keys of `Response` in the official SDKs that an answer of OpenAI's has whatever was asked for. */
const KEYS = [
  ...['id', 'object', 'created_at', 'status', 'background', 'completed_at', 'error', 'incomplete_details'],
  ...['instructions', 'max_output_tokens', 'max_tool_calls', 'metadata', 'model', 'output'],
  ...[
    'parallel_tool_calls',
    'previous_response_id',
    'reasoning',
    'safety_identifier',
    'service_tier',
    'store',
  ],
  ...['temperature', 'text', 'tool_choice', 'tools', 'top_logprobs', 'top_p', 'truncation', 'usage', 'user'],
];

let world: SyncWorld;

beforeEach(async () => {
  world = await openSyncWorld(() => null);
});

afterEach(() => world.close());

const asked = { model: 'm', input: 'question', background: true } as const;
const make = async (more: object = {}, headers: Record<string, string> = {}) => {
  const made = await world.post('/v1/responses', { ...asked, ...more }, headers);
  return { ...made.json(), http: made };
};
const ask = async (method: 'GET' | 'POST' | 'DELETE', path: string, headers: Record<string, string> = {}) => {
  const answer = await world.api.fastify.inject({ method, url: `/v1/responses/${path}`, headers });
  return { status: answer.statusCode, headers: answer.headers, body: answer.json() };
};
const statusOf = async (id: string): Promise<string> => (await ask('GET', id)).body.status;
const ended = async (id: string) => {
  await expect.poll(() => statusOf(id)).not.toMatch(/queued|in_progress/);
  return (await ask('GET', id)).body;
};
const jobIdOf = (id: string): string => id.replace('resp_', 'job_');

describe.each<[string, typeof OpenAI]>([
  ['openai 7', OpenAI],
  ['openai 6.49', OpenAI6 as never],
])('%s, unmodified', (_, Client) => {
  const client = (options: object = {}) =>
    new Client({ baseURL: `${world.url}/v1`, apiKey: 'none', maxRetries: 0, ...options });

  it('makes a response in the background, follows it, and reads the engine’s answer under one id', async () => {
    const { responses } = client();
    const made = await responses.create({ ...asked, temperature: 0, metadata: { run: 'seven' } });
    expect(made).toMatchObject({ object: 'response', status: 'queued', background: true, output: [] });
    expect(made).toMatchObject({ model: 'm', temperature: 0, metadata: { run: 'seven' }, output_text: '' });
    await expect.poll(() => statusOf(made.id)).toBe('in_progress');
    world.say = () => good(RESPONSE);
    await expect.poll(async () => (await responses.retrieve(made.id)).status).toBe('completed');
    const answer = await responses.retrieve(made.id);
    const { id, created_at } = made;
    expect(answer).toMatchObject({
      ...RESPONSE,
      id,
      created_at,
      background: true,
      metadata: { run: 'seven' },
    });
    expect(answer.output_text).toBe('forty-two');
    expect(answer.completed_at).toBeGreaterThanOrEqual(created_at);
    await responses.delete(id);
    await expect(responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  it('cancels one that has not ended', async () => {
    const { responses } = client();
    const { id } = await responses.create({ ...asked });
    expect(await responses.cancel(id)).toMatchObject({ id, status: 'cancelled', error: null, output: [] });
    expect(await responses.cancel(id)).toMatchObject({ id, status: 'cancelled' });
    expect(await responses.retrieve(id)).toMatchObject({ id, status: 'cancelled' });
  });

  it('makes one response when it asks twice because an answer was lost', async () => {
    let calls = 0;
    const losing = async (...call: Parameters<typeof fetch>) => {
      const answer = await fetch(...call);
      calls += 1;
      if (calls === 1) throw new TypeError('the connection broke');
      return answer;
    };
    const { id } = await client({ maxRetries: 2, fetch: losing }).responses.create({ ...asked });
    expect([calls, await world.jobIds('background')]).toEqual([2, [jobIdOf(id)]]);
  });
});

describe('a background response', () => {
  it('is a job of one item that the engine sees like every other request', async () => {
    const seen: unknown[] = [];
    world.say = ({ body }) => {
      seen.push(body);
      return good(RESPONSE);
    };
    const made = await make({ stream: false, metadata: { run: 'seven' } });
    await ended(made.id);
    expect(seen).toEqual([{ model: 'm', input: 'question', metadata: { run: 'seven' } }]);
    expect(made.http.headers.get('x-batch-infer-job-id')).toBe(jobIdOf(made.id));
    expect(await world.jobOf(made.id)).toMatchObject({
      id: jobIdOf(made.id),
      endpoint: '/v1/responses',
      priority: 'normal',
      counts: { total: 1 },
      completion_window: '24h',
      metadata: { run: 'seven', x_batch_infer_lane: 'background' },
    });
    expect(await world.jobIds('sync')).toEqual([]);
  });

  it('has every key at every time, null where nothing is set', async () => {
    const { http, ...queued } = await make();
    expect(Object.keys(queued)).toEqual(expect.arrayContaining(KEYS));
    expect(queued).toMatchObject({ usage: null, error: null, completed_at: null, instructions: null });
    expect(queued).toMatchObject({ tools: [], tool_choice: 'auto', parallel_tool_calls: true, metadata: {} });
    world.say = () => good(RESPONSE);
    expect(Object.keys(await ended(queued.id))).toEqual(expect.arrayContaining(KEYS));
  });

  it.each([
    ['flex', 'low'],
    ['priority', 'high'],
    ['fast', 'high'],
    ['default', 'normal'],
    ['auto', 'normal'],
  ])('of the tier %s waits with %s priority', async (service_tier, priority) => {
    const made = await make({ service_tier });
    expect(made.service_tier).toBe(service_tier);
    expect(await world.jobOf(jobIdOf(made.id))).toMatchObject({ priority });
  });

  it('waits for a runner of its model, as jobs do', async () => {
    const made = await make({ model: 'not-yet-served' });
    expect([made.http.status, made.status]).toEqual([200, 'queued']);
  });

  it('is refused under the names that the request used', async () => {
    expect(await make({ input: undefined })).toMatchObject({ status: 400, param: 'input' });
    expect(await make({ model: 3 })).toMatchObject({ status: 400, param: 'model' });
    expect(await make({ stream: true })).toMatchObject({ status: 400, param: 'stream' });
    const { id } = await make();
    expect(await ask('GET', `${id}?stream=true`)).toMatchObject({ status: 400, body: { param: 'stream' } });
  });

  it('is found again by its idempotency key, whatever has become of it', async () => {
    const key = { 'idempotency-key': 'one' };
    const { id } = await make({}, key);
    const again = await make({}, key);
    expect([again.id, again.http.headers.get('idempotent-replayed')]).toEqual([id, 'true']);
    world.say = () => good(RESPONSE);
    await ended(id);
    expect(await make({}, key)).toMatchObject({ id, status: 'completed', output: RESPONSE.output });
    expect(await make({ input: 'another' }, key)).toMatchObject({ status: 422 });
    const waited = await world.post('/v1/responses', { ...asked, background: false }, key);
    expect(waited.status).toBe(422);
  });

  it('tells no webhook endpoint of its end: it is no batch', async () => {
    await world.post('/v1/webhook_endpoints', { url: 'https://hooks.example/x' });
    world.say = () => good(RESPONSE);
    const { id } = await make();
    await ended(id);
    await expect.poll(async () => (await world.jobOf(jobIdOf(id))).status).toBe('succeeded');
    expect(await world.api.ledger.listWebhookDeliveries({ projectId: 'default', limit: 1 })).toEqual([]);
  });
});

describe('the end of a background response', () => {
  it('is incomplete where the engine says so', async () => {
    const incomplete_details = { reason: 'max_output_tokens' };
    world.say = () => good({ ...RESPONSE, status: 'incomplete', incomplete_details });
    const { id } = await make();
    expect(await ended(id)).toMatchObject({ id, status: 'incomplete', incomplete_details, error: null });
  });

  it('is failed with the engine’s own words where it refused the request', async () => {
    world.say = () => refused(400);
    const { id } = await make();
    expect(await ended(id)).toMatchObject({
      id,
      status: 'failed',
      error: { code: 'invalid_prompt', message: 'refused by the engine', type: 'invalid_request_error' },
      output: [],
      usage: null,
      completed_at: null,
    });
  });

  it('is failed where the engine could not be reached', async () => {
    world.say = () => broken();
    const { id } = await make();
    expect(await ended(id)).toMatchObject({ status: 'failed', error: { code: 'server_error' } });
  });

  it('is failed where its time was over', async () => {
    const { id } = await make();
    const stop = { projectId: 'default', id: jobIdOf(id), reason: 'expired' } as const;
    await world.api.ledger.stopJob({ ...stop, nowMs: world.api.nowMs() });
    expect(await ended(id)).toMatchObject({
      status: 'failed',
      error: { code: 'server_error', message: expect.stringContaining('time was over') },
    });
    // The finalizer of this world may be at it already: then a tick of ours would do nothing.
    await expect.poll(async () => (await world.jobOf(jobIdOf(id))).status).toBe('expired');
    expect(await statusOf(id)).toBe('failed');
  });

  it('stays what it was when it is cancelled afterwards', async () => {
    world.say = () => good(RESPONSE);
    const { id } = await make();
    const before = await ended(id);
    const after = await ask('POST', `${id}/cancel`);
    expect([after.status, after.body]).toEqual([200, before]);
  });
});

describe('a background response that a runner holds', () => {
  const claim = async (id: string) => {
    const { ledger } = world.api;
    const jobId = jobIdOf(id);
    const [shard] = await ledger.listShards({ jobId, fromOrdinal: 0, toOrdinal: 1 });
    const { id: shardId = '', epoch = 0 } = shard ?? {};
    const nowMs = world.api.nowMs();
    const claimed = await ledger.claimShard({ shardId, epoch, runnerId: 'other', leaseMs: 60_000, nowMs });
    if (claimed.outcome !== 'claimed') return null;
    return {
      release: async () => {
        await ledger.releaseShard({ shardId, epoch: claimed.shard.epoch, nowMs: world.api.nowMs() });
        world.api.signals.emit('job-changed', jobId);
        await world.api.finalizer.tick();
        world.api.signals.emit('job-changed', jobId);
      },
    };
  };

  it('is cancelled as soon as the runner has let go, and says so to who cancels', async () => {
    const { id } = await make();
    const { promise: held, resolve } =
      Promise.withResolvers<NonNullable<Awaited<ReturnType<typeof claim>>>>();
    await expect
      .poll(async () => {
        const claimed = await claim(id);
        if (claimed !== null) resolve(claimed);
        return claimed;
      })
      .not.toBeNull();
    const cancelling = ask('POST', `${id}/cancel`);
    await expect.poll(async () => (await world.jobOf(jobIdOf(id))).phase).toBe('cancelling');
    expect(await statusOf(id)).toBe('in_progress');
    await (await held).release();
    expect((await cancelling).body).toMatchObject({ id, status: 'cancelled' });
  });

  it('is not deleted before it has ended', async () => {
    const { id } = await make();
    expect(await ask('DELETE', id)).toMatchObject({ status: 409, body: { code: 'job_not_ended' } });
    await ask('POST', `${id}/cancel`);
    expect(await ask('DELETE', id)).toMatchObject({
      status: 200,
      body: { id, object: 'response', deleted: true },
    });
    expect((await ask('GET', id)).status).toBe(404);
  });
});

describe('an id', () => {
  it('of another project answers as one of nobody', async () => {
    const { id } = await make();
    const others = { 'x-test-project': 'others' };
    const unknown = `${id.slice(0, -4)}0000`;
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/cancel'],
      ['DELETE', ''],
    ] as const) {
      const foreign = await ask(method, `${id}${path}`, others);
      const nobodys = await ask(method, `${unknown}${path}`, others);
      expect([foreign.status, nobodys.status]).toEqual([404, 404]);
      expect(foreign.body.detail.replace(id, 'ID')).toBe(nobodys.body.detail.replace(unknown, 'ID'));
    }
    expect(await statusOf(id)).toMatch(/queued|in_progress/);
  });

  it('of another kind of job, or in another dialect’s words, is unknown', async () => {
    const { id } = await make();
    expect((await ask('GET', jobIdOf(id))).status).toBe(404);
    const job = { endpoint: '/v1/responses', model: 'm', input: { input: 'question' } };
    const other = (await world.post('/v1/jobs', job)).json().id.replace('job_', 'resp_');
    expect((await ask('GET', other)).status).toBe(404);
    expect((await ask('GET', 'resp_x')).status).toBe(404);
  });
});

it('can be deleted by who has read its answer, though its job is not over yet', async () => {
  const { id } = await make();
  const tick = world.api.finalizer.tick.bind(world.api.finalizer);
  const { promise: gate, resolve } = Promise.withResolvers<void>();
  world.api.finalizer.tick = async () => {
    await gate;
    return tick();
  };
  world.say = () => good(RESPONSE);
  await expect.poll(() => statusOf(id)).toBe('completed');
  expect(await world.jobOf(jobIdOf(id))).toMatchObject({ phase: 'finalizing' });
  const watch = world.api.app.get(JobWatch, { strict: false });
  const others = watch.size;
  const deleting = ask('DELETE', id);
  await expect.poll(() => watch.size).toBeGreaterThan(others);
  resolve();
  expect((await deleting).status).toBe(200);
});
