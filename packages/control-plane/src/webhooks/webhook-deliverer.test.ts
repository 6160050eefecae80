import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { LIMITS } from '@batch-infer/contracts';
import OpenAI from 'openai';
import OpenAI6 from 'openai-6';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { JobRecord } from '../ports/records.js';
import { openUseCases, type UseCases } from '../use-cases-fixture.js';
import { RETRY_DELAYS_MS } from './retry-schedule.js';
import { newWebhookSecret } from './signing.js';
import { TargetGuard } from './target-guard.js';
import { WebhookDeliverer } from './webhook-deliverer.js';
import { WebhookEndpoints } from './webhook-endpoints.js';
import { WebhookSender } from './webhook-sender.js';

interface Call {
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly event: { id: string; type: string; data: { id: string } };
}

let cases: UseCases;
let receiver: Server;
let url: string;
let calls: Call[];
let answer: (response: ServerResponse, call: number) => void;
let deliverer: WebhookDeliverer;
let endpoints: WebhookEndpoints;

beforeEach(async () => {
  // Signatures carry the time, and receivers compare it with theirs.
  cases = await openUseCases();
  cases.clock.advance(Date.now() - cases.clock.nowMs());
  calls = [];
  answer = (response) => response.writeHead(204).end();
  receiver = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    calls.push({ headers: plain(request.headers), body, event: JSON.parse(body) });
    answer(response, calls.length);
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const address = receiver.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  url = `http://127.0.0.1:${port}/hook?x=1`;
  const guard = new TargetGuard({ allowHosts: [`127.0.0.1:${port}`] });
  const sender = new WebhookSender({ guard, timeoutMs: 2_000 });
  const { ledger, clock } = cases;
  deliverer = new WebhookDeliverer({ ledger, clock, sender, random: () => 0.5 });
  endpoints = new WebhookEndpoints({ ledger, clock, guard, sender, onDue: () => undefined });
});

afterEach(async () => {
  vi.useRealTimers();
  receiver.closeAllConnections();
  await new Promise((resolve) => receiver.close(resolve));
  await cases.close();
});

const plain = (headers: IncomingHttpHeaders): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, String(value)]));

const make = async (
  eventTypes?: Parameters<WebhookEndpoints['create']>[0]['eventTypes'],
  projectId = 'default',
) => {
  const attempt = { projectId, route: 'POST /v1/webhook_endpoints', key: null, isRetry: false };
  return (await endpoints.create({ attempt, url, eventTypes })).endpoint;
};

/** A job of one item, ended by its cancellation. */
async function cancelledJob(projectId = 'default'): Promise<JobRecord> {
  const job = await cases.createJob({ items: 1, projectId });
  const nowMs = cases.clock.nowMs();
  await cases.ledger.stopJob({ projectId, id: job.id, reason: 'cancelled', nowMs });
  await cases.ledger.claimFinalization({ jobId: job.id, owner: 'me', claimMs: 1_000, nowMs });
  const end = { jobId: job.id, owner: 'me', state: 'cancelled', cancelled: 1, expired: 0 } as const;
  expect(await cases.ledger.finishJob({ ...end, outputFile: null, errorFile: null, nowMs })).toBe(true);
  return job;
}

const log = (projectId = 'default') => cases.ledger.listWebhookDeliveries({ projectId, limit: 100 });

describe('an event', () => {
  it('stands in the ledger from the moment at which its job has ended, and not before', async () => {
    await make();
    const job = await cases.createJob({ items: 1 });
    expect(await log()).toEqual([]);
    await cancelledJob();
    expect(await log()).toMatchObject([{ eventType: 'batch.cancelled', state: 'pending', attempts: 0 }]);
    expect(await cases.getJob(job)).toMatchObject({ state: 'queued' });
  });

  it('is verified by the libraries of others', async () => {
    const { secret } = await make();
    const job = await cancelledJob();
    await deliverer.tick();
    const [call] = calls;
    if (call === undefined) throw new Error('nothing came');
    const { headers, body } = call;
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'webhook-id': call.event.id });

    const expected = { id: call.event.id, object: 'event', type: 'batch.cancelled', data: { id: job.id } };
    const options = { apiKey: 'none', webhookSecret: secret };
    expect(await new OpenAI(options).webhooks.unwrap(body, headers)).toMatchObject(expected);
    expect(await new OpenAI6(options).webhooks.unwrap(body, headers)).toMatchObject(expected);
    expect(
      new Anthropic({ apiKey: 'none' }).beta.webhooks.unwrap(body, { headers, key: secret }),
    ).toMatchObject(expected);
    expect(new Webhook(secret).verify(body, headers)).toMatchObject(expected);
    const forged = new OpenAI({ apiKey: 'none', webhookSecret: newWebhookSecret() });
    await expect(forged.webhooks.unwrap(body, headers)).rejects.toThrow();
  });

  it('goes to the endpoints of its project that want its type', async () => {
    await make(['batch.completed']);
    await make(['batch.cancelled', 'batch.failed']);
    await make(undefined, 'other');
    await cancelledJob();
    await deliverer.tick();
    expect(calls).toHaveLength(1);
    expect(await log('other')).toEqual([]);
  });
});

describe('R13: a receiver that comes and goes', () => {
  it('gets every event at least once, under one id', async () => {
    const { secret } = await make();
    answer = (response, call) => {
      if (call % 3 === 0) response.writeHead(200).end('ok');
      else if (call % 3 === 1) response.socket?.destroy();
      else response.writeHead(503).end();
    };
    const jobs = [await cancelledJob(), await cancelledJob(), await cancelledJob()];
    for (const delayMs of [0, ...RETRY_DELAYS_MS]) {
      cases.clock.advance(delayMs);
      await deliverer.tick();
    }
    const deliveries = await log();
    expect(deliveries.map(({ state }) => state)).toEqual(['delivered', 'delivered', 'delivered']);
    const ids = new Set(calls.map(({ headers }) => headers['webhook-id']));
    expect(ids).toEqual(new Set(deliveries.map(({ eventId }) => eventId)));
    expect(new Set(calls.map(({ event }) => event.data.id))).toEqual(new Set(jobs.map(({ id }) => id)));
    const [openai, anthropic] = [new OpenAI({ apiKey: 'none' }), new Anthropic({ apiKey: 'none' })];
    for (const { headers, body, event } of calls) {
      const atMs = Number(headers['webhook-timestamp']) * 1_000;
      expect(atMs).toBeLessThanOrEqual(cases.clock.nowMs());
      // Each library holds the signature's time against the clock of its machine.
      vi.setSystemTime(atMs);
      expect(new Webhook(secret).verify(body, headers)).toMatchObject(event);
      expect(await openai.webhooks.unwrap(body, headers, secret)).toMatchObject(event);
      expect(anthropic.beta.webhooks.unwrap(body, { headers, key: secret })).toMatchObject(event);
    }
  });

  it('is given up after the last attempt, and called again when it is asked for', async () => {
    await make();
    await cancelledJob();
    answer = (response) => response.writeHead(500).end();
    for (const delayMs of [0, ...RETRY_DELAYS_MS, 100 * 3_600_000]) {
      cases.clock.advance(delayMs);
      await deliverer.tick();
    }
    const [failed] = await log();
    expect(failed).toMatchObject({ state: 'failed', attempts: RETRY_DELAYS_MS.length + 1, lastStatus: 500 });
    expect(failed?.lastError).toContain('last attempt');
    answer = (response) => response.writeHead(200).end();
    await endpoints.redeliver('default', failed?.id ?? '');
    await deliverer.tick();
    expect(await log()).toMatchObject([{ state: 'delivered', eventId: failed?.eventId }]);
    await expect(endpoints.redeliver('other', failed?.id ?? '')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is left to another process when this one ends during the call', async () => {
    await make();
    await cancelledJob();
    answer = () => deliverer.stop();
    await deliverer.tick();
    expect(await log()).toMatchObject([{ state: 'pending', attempts: 0 }]);
    expect(await deliverer.tick()).toBe(false);
    expect(calls).toHaveLength(1);
  });

  it('is left to another process when one dies during the call', async () => {
    await make();
    await cancelledJob();
    const claim = () =>
      cases.ledger.claimWebhookDeliveries({ limit: 10, claimMs: 60_000, nowMs: cases.clock.nowMs() });
    expect(await claim()).toHaveLength(1);
    expect(await claim()).toEqual([]);
    cases.clock.advance(60_000);
    await deliverer.tick();
    expect(calls).toHaveLength(1);
  });
});

describe('M6', () => {
  it('dead receivers of one project hold back nobody else’s webhooks, nor take more than four places', async () => {
    const send = vi.fn(async ({ url: target }: { url: string }) => {
      if (!target.includes('dead')) return { kind: 'answered', status: 200 } as const;
      return await new Promise<never>(() => undefined);
    });
    const { ledger, clock } = cases;
    const busy = new WebhookDeliverer({ ledger, clock, sender: { send }, random: () => 0.5 });
    const attempt = { projectId: 'default', route: 'r', key: null, isRetry: false };
    for (const host of ['dead-1', 'dead-2', 'dead-3'])
      await endpoints.create({ attempt, url: `https://${host}.example/`, eventTypes: ['batch.cancelled'] });
    for (let jobs = 0; jobs < 8; jobs += 1) await cancelledJob();
    await endpoints.create({
      attempt: { ...attempt, projectId: 'other' },
      url: 'https://alive.example/',
    });
    await cancelledJob('other');
    await busy.tick();
    expect(await log('other')).toMatchObject([{ state: 'delivered' }]);
    const calls = send.mock.calls
      .map(([{ url: target }]) => target)
      .filter((target) => target.includes('dead'));
    expect(calls.length).toBeLessThanOrEqual(4);
  });
});

it('tests of endpoints are limited, each project for itself', async () => {
  const { id } = await make();
  const other = await make(undefined, 'other');
  for (let tests = 0; tests < 10; tests += 1) await endpoints.test('default', id, 'batch.completed');
  await expect(endpoints.test('default', id, 'batch.completed')).rejects.toMatchObject({
    code: 'rate_limited',
  });
  expect(await endpoints.test('other', other.id, 'batch.completed')).toMatchObject({ status: 204 });
  cases.clock.advance(60_000);
  await endpoints.test('default', id, 'batch.completed');
});

describe('an answer', () => {
  it('of 410 disables the endpoint until it is changed', async () => {
    const { id } = await make();
    answer = (response) => response.writeHead(410).end();
    await cancelledJob();
    await cancelledJob();
    await deliverer.tick();
    expect((await endpoints.get('default', id)).disabledAtMs).not.toBeNull();
    expect((await log()).map(({ state }) => state)).toEqual(['failed', 'failed']);
    await cancelledJob();
    expect(await log()).toHaveLength(2);
    await endpoints.update('default', id, { name: 'again' });
    await cancelledJob();
    expect(await log()).toHaveLength(3);
  });

  it('of a redirect is a failure: it is not followed', async () => {
    await make();
    answer = (response) => response.writeHead(307, { location: url }).end();
    await cancelledJob();
    await deliverer.tick();
    expect(calls).toHaveLength(1);
    expect(await log()).toMatchObject([{ state: 'pending', lastStatus: 307 }]);
  });

  it('that never comes is cut off', async () => {
    await make();
    answer = () => undefined;
    await cancelledJob();
    await vi.waitFor(async () => expect(await deliverer.tick()).toBe(false), 10_000);
    expect(await log()).toMatchObject([
      { state: 'pending', lastStatus: 0, lastError: expect.stringMatching(/in time/) },
    ]);
  });
});

describe('secrets', () => {
  it('are shown to the retry of a create whose answer was lost, and not to a later one', async () => {
    const attempt = { projectId: 'default', route: 'POST /v1/webhook_endpoints', key: 'once', isRetry: true };
    const { endpoint } = await endpoints.create({ attempt, url });
    cases.clock.advance(60_000);
    expect(await endpoints.create({ attempt, url })).toEqual({ endpoint, replayed: true });
    cases.clock.advance(LIMITS.implicitRetryWindowMs);
    await expect(endpoints.create({ attempt, url })).rejects.toMatchObject({
      code: 'idempotency_key_reused',
      message: expect.not.stringContaining(endpoint.secret),
    });
  });

  it('sign both for a day when one takes the place of the other', async () => {
    const before = await make();
    const after = await endpoints.rotateSecret('default', before.id, true);
    await cancelledJob();
    await deliverer.tick();
    const [call] = calls;
    for (const secret of [before.secret, after.secret]) {
      expect(new Webhook(secret).verify(call?.body ?? '', call?.headers ?? {})).toBeTruthy();
    }
    cases.clock.advance(24 * 3_600_000);
    await cancelledJob();
    await deliverer.tick();
    expect(calls.at(-1)?.headers['webhook-signature']?.split(' ')).toHaveLength(1);
  });

  it('of a project sign what has none of its own, and stay the same', async () => {
    const secret = await endpoints.projectSecret('default');
    expect(await endpoints.projectSecret('default')).toBe(secret);
    expect(await endpoints.projectSecret('other')).not.toBe(secret);
  });
});

it('forgets the log in time, and what is on its way never', async () => {
  await make(['batch.cancelled']);
  await cancelledJob();
  await deliverer.tick();
  answer = (response) => response.writeHead(500).end();
  await cancelledJob();
  await deliverer.tick();
  const beforeMs = cases.clock.nowMs() + 1;
  await cases.ledger.forgetWebhookDeliveries({ beforeMs });
  expect((await log()).map(({ state }) => state)).toEqual(['pending']);
});
