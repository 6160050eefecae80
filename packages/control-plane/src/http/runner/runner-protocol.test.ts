import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClaimResponse, Lease, Offer, ReleaseRequest } from '@batch-infer/contracts/runner-protocol';
import { DirectSubscriber } from '@batch-infer/transport/direct';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseControlPlaneConfig } from '../../config.js';
import { type ControlPlane, startControlPlane } from '../../start-control-plane.js';
import { silentLogger } from '../../telemetry/logger.js';
import { reportOf, segmentOf } from '../../use-cases-fixture.js';

let folder: string;
let server: ControlPlane;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'batch-infer-runner-'));
  server = await startControlPlane(
    parseControlPlaneConfig({
      BATCH_INFER_DATA: folder,
      BATCH_INFER_PORT: '0',
      BATCH_INFER_SESSION_GRACE_MS: '100',
      BATCH_INFER_SWEEP_INTERVAL_MS: '50',
    }),
    { logger: silentLogger() },
  );
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const headers = { 'x-batch-infer-protocol': '1', 'content-type': 'application/json' };
const ndjson = { ...headers, 'content-type': 'application/x-ndjson' };

const post = (path: string, body: unknown, signal?: AbortSignal) =>
  fetch(`${server.url}${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });

async function createJob(items: number): Promise<string> {
  const created = await post('/v1/jobs', {
    model: 'm',
    endpoint: '/v1/chat/completions',
    items: Array.from({ length: items }, (_, index) => ({
      custom_id: `id-${index}`,
      body: { messages: [{ role: 'user', content: `say ${index}` }] },
    })),
  });
  expect(created.status).toBe(202);
  return (await created.json()).id;
}

const jobOf = async (id: string) => (await fetch(`${server.url}/v1/jobs/${id}`)).json();

async function pollOnce(runnerId: string, waitMs = 10_000): Promise<Offer[]> {
  const poll = { runner_id: runnerId, models: ['m'], max: 8, wait_ms: waitMs };
  return (await (await post('/v1/runner/offers', poll)).json()).offers;
}

async function claim(offer: Offer, runnerId: string): Promise<Lease> {
  const body = { runner_id: runnerId, shard_id: offer.shard_id, epoch: offer.epoch };
  const answer: ClaimResponse = await (await post('/v1/runner/claim', body)).json();
  if (answer.outcome !== 'claimed') throw new Error(`the claim was ${JSON.stringify(answer)}`);
  return answer.lease;
}

async function claimNext(runnerId: string): Promise<Lease> {
  const [offer] = await pollOnce(runnerId);
  if (!offer) throw new Error('nothing was offered');
  return claim(offer, runnerId);
}

const settlePath = (lease: Lease) =>
  `/v1/runner/shards/${lease.shard_id}/settle?epoch=${lease.epoch}&runner_id=r`;

const settle = (lease: Lease, segment: Uint8Array<ArrayBuffer>) =>
  fetch(`${server.url}${settlePath(lease)}`, { method: 'POST', headers: ndjson, body: segment });

const segment = (...indexes: number[]) => new Uint8Array(segmentOf(indexes));

describe('a runner', () => {
  it('carries a job from its offer to its results', async () => {
    const taken: Lease[] = [];
    const subscriber = new DirectSubscriber({ serverUrl: server.url, runnerId: 'r' });
    const subscription = await subscriber.subscribe({
      models: ['m'],
      handle: async (offer) => {
        taken.push(await claim(offer, 'r'));
        return { outcome: 'taken' };
      },
    });
    const id = await createJob(3);
    await vi.waitFor(() => expect(taken).toHaveLength(1));
    const [lease] = taken;
    if (!lease) throw new Error('nothing was claimed');
    const lines = await fetch(`${server.url}/v1/runner/shards/${lease.shard_id}/lines?epoch=${lease.epoch}`, {
      headers,
    });
    expect(lines.headers.get('content-length')).toBe(String(lease.bytes));
    const items = (await lines.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(items.map(({ custom_id }) => custom_id)).toEqual(['id-0', 'id-1', 'id-2']);

    expect(await (await settle(lease, segment(0, 2))).json()).toMatchObject({
      accepted: 2,
      shard_done: false,
    });
    const renewal = { ...reportOf('r'), leases: [{ shard_id: lease.shard_id, epoch: lease.epoch }] };
    expect(await (await post('/v1/runner/renew', renewal)).json()).toMatchObject({
      leases: [{ status: 'held' }],
    });
    expect(await (await settle(lease, segment(1))).json()).toMatchObject({ accepted: 1, shard_done: true });

    await vi.waitFor(async () => expect(await jobOf(id)).toMatchObject({ status: 'succeeded' }));
    const results = await (await fetch(`${server.url}/v1/jobs/${id}/results`)).text();
    expect(
      results
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).response),
    ).toEqual([{ item: 0 }, { item: 1 }, { item: 2 }]);
    await subscription.close();
  });

  it('gives its shard back, and another one takes it at once', async () => {
    const id = await createJob(2);
    const lease = await claimNext('first');
    const waiting = pollOnce('second');
    const release: ReleaseRequest = { runner_id: 'first', epoch: lease.epoch, reason: 'drain' };
    const released = await post(`/v1/runner/shards/${lease.shard_id}/release`, release);
    expect(await released.json()).toEqual({ released: true });
    expect(await waiting).toMatchObject([{ shard_id: lease.shard_id, epoch: lease.epoch, job_id: id }]);
  });

  it('that dies is missed at once: its shard goes to another one', async () => {
    await createJob(2);
    const dying = new AbortController();
    await post('/v1/runner/session', reportOf('first'), dying.signal);
    const lease = await claimNext('first');
    const waiting = pollOnce('second');
    dying.abort();
    expect(await waiting).toMatchObject([{ shard_id: lease.shard_id, epoch: lease.epoch }]);
    const late = await settle(lease, segment(0));
    // Nobody has claimed it again yet, but the lease is over all the same.
    expect(late.status).toBe(409);
  });

  it('that dies with offers it never claimed holds nothing back', async () => {
    await createJob(2);
    const dying = new AbortController();
    await post('/v1/runner/session', reportOf('first'), dying.signal);
    expect(await pollOnce('first')).toHaveLength(1);
    const waiting = pollOnce('second');
    dying.abort();
    expect(await waiting).toHaveLength(1);
  });

  it('is told over its session to stop a cancelled job', async () => {
    const session = await post('/v1/runner/session', reportOf('r'));
    const events = session.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await events?.read())?.value).toContain('welcome');
    const id = await createJob(2);
    const lease = await claimNext('r');
    expect((await post(`/v1/jobs/${id}/cancel`, {})).ok).toBe(true);
    expect(JSON.parse((await events?.read())?.value ?? '')).toEqual({
      type: 'stop',
      job_ids: [id],
      reason: 'cancelled',
    });
    expect(await (await settle(lease, segment(0))).json()).toMatchObject({ accepted: 1, stop: true });
    const release: ReleaseRequest = { runner_id: 'r', epoch: lease.epoch, reason: 'stopped' };
    await post(`/v1/runner/shards/${lease.shard_id}/release`, release);
    await vi.waitFor(async () =>
      expect(await jobOf(id)).toMatchObject({ status: 'cancelled', counts: { succeeded: 1, cancelled: 1 } }),
    );
    await events?.cancel();
  });
});

describe('a settle', () => {
  it('of another content type is refused', async () => {
    await createJob(1);
    const lease = await claimNext('r');
    const answer = await post(settlePath(lease), {});
    expect(await answer.json()).toMatchObject({ status: 415, code: 'unsupported_media_type' });
  });

  it('that is too large is answered, not cut off', async () => {
    await createJob(1);
    const lease = await claimNext('r');
    const answer = await settle(lease, new Uint8Array(33 * 1024 * 1024));
    expect(await answer.json()).toMatchObject({ status: 413, code: 'body_too_large' });
  });

  it('that breaks off ends nothing', async () => {
    const id = await createJob(2);
    const lease = await claimNext('r');
    const broken = httpRequest(`${server.url}${settlePath(lease)}`, {
      method: 'POST',
      headers: { ...ndjson, 'content-length': 1_000_000 },
    });
    broken.on('error', () => {});
    await new Promise<void>((resolve) => broken.write(segment(0, 1), () => resolve()));
    broken.destroy();
    expect(await (await settle(lease, segment(1))).json()).toMatchObject({ accepted: 1, repeated: 0 });
    expect(await jobOf(id)).toMatchObject({ counts: { succeeded: 1 } });
  });
});

/** Found by schemathesis on PostgreSQL, which cannot count so far and failed instead. */
it.each([2 ** 31, Number.MAX_SAFE_INTEGER, -1])(
  'refuses the epoch %d, which no shard can have',
  async (epoch) => {
    const answers = await Promise.all([
      post('/v1/runner/claim', { runner_id: 'r', shard_id: 's', epoch }),
      post('/v1/runner/renew', { ...reportOf('r'), leases: [{ shard_id: 's', epoch }] }),
      post('/v1/runner/shards/s/release', { runner_id: 'r', epoch, reason: 'shutdown' }),
      fetch(`${server.url}/v1/runner/shards/s/lines?epoch=${epoch}`, { headers }),
      fetch(`${server.url}/v1/runner/shards/s/settle?epoch=${epoch}`, {
        method: 'POST',
        headers: ndjson,
        body: '',
      }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 400, 400]);
    for (const answer of answers) expect(JSON.stringify(await answer.json())).toContain('epoch');
  },
);
