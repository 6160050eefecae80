import { LIMITS } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { WebhookAttempt, WebhookEndpointRecord } from '../ports/webhooks.js';
import type { LedgerWorld } from './world-conformance.js';

const CLAIM_MS = 60_000;

/** Endpoints, and the events that the end of a job writes. */
export function webhooksConformance(world: () => LedgerWorld): void {
  const make = async (id: string, overrides: Partial<WebhookEndpointRecord> = {}) => {
    const endpoint: WebhookEndpointRecord = {
      id,
      projectId: world().project,
      name: id,
      url: `https://${id}.example/hook`,
      eventTypes: ['batch.completed', 'batch.failed'],
      secret: `whsec_${id}`,
      oldSecret: null,
      oldSecretUntilMs: null,
      disabledAtMs: null,
      createdAtMs: world().nowMs,
      updatedAtMs: world().nowMs,
      ...overrides,
    };
    expect(await store(endpoint)).toEqual({ outcome: 'created', record: endpoint });
    return endpoint;
  };
  const store = (endpoint: WebhookEndpointRecord, key: string | null = null, fingerprint = 'f') => {
    const { projectId } = endpoint;
    const idempotency = { projectId, route: 'POST /hooks', key, fingerprint, isRetry: false };
    return world().ledger.createWebhookEndpoint({ endpoint, idempotency, nowMs: world().nowMs });
  };
  const endJob = async () => {
    const job = await world().job({ shards: [1] });
    await world().runAll(job);
    return await world().finish(job, 'succeeded');
  };
  const claim = () =>
    world().ledger.claimWebhookDeliveries({ limit: 10, claimMs: CLAIM_MS, nowMs: world().nowMs });
  const log = (projectId = world().project) => world().ledger.listWebhookDeliveries({ projectId, limit: 10 });
  const delivered: WebhookAttempt = {
    state: 'delivered',
    status: 200,
    error: null,
    nextAttemptAtMs: null,
    disableEndpoint: false,
  };

  describe('webhook endpoints', () => {
    it('come back as they were stored, to their project only, newest first', async () => {
      const { ledger, project } = world();
      const first = await make('whe_1');
      const second = await make('whe_2', { oldSecret: 'whsec_old', oldSecretUntilMs: 5 });
      await make('whe_3', { projectId: 'proj_two' });
      expect(await ledger.getWebhookEndpoint({ projectId: project, id: 'whe_2' })).toEqual(second);
      expect(await ledger.getWebhookEndpoint({ projectId: 'proj_two', id: 'whe_2' })).toBeNull();
      expect(await ledger.listWebhookEndpoints({ projectId: project, limit: 10 })).toEqual([second, first]);
      const rest = await ledger.listWebhookEndpoints({ projectId: project, after: 'whe_2', limit: 10 });
      expect(rest).toEqual([first]);
      const other = { projectId: 'proj_two', id: 'whe_1' };
      expect(await ledger.updateWebhookEndpoint({ ...other, change: {}, nowMs: 1 })).toBeNull();
      expect(await ledger.deleteWebhookEndpoint(other)).toBe(false);
    });

    it('are limited in number', async () => {
      for (let made = 0; made < LIMITS.webhookEndpoints; made += 1) await make(`whe_${made}`);
      const [endpoint] = await world().ledger.listWebhookEndpoints({ projectId: world().project, limit: 1 });
      if (endpoint === undefined) throw new Error('there are endpoints');
      const more = { ...endpoint, id: 'whe_more' };
      expect(await store(more, 'key')).toEqual({ outcome: 'full' });
      await world().ledger.deleteWebhookEndpoint(endpoint);
      expect(await store(more, 'key')).toEqual({ outcome: 'created', record: more });
    });

    it('are made once for a key, with the secret of the first time', async () => {
      const first = { ...(await make('whe_1')), id: 'whe_2', secret: 'whsec_first' };
      expect(await store(first, 'key')).toEqual({ outcome: 'created', record: first });
      const again = { ...first, id: 'whe_3', secret: 'whsec_again' };
      expect(await store(again, 'key')).toEqual({ outcome: 'replayed', record: first });
      expect(await store(again, 'key', 'other')).toEqual({ outcome: 'conflict' });
      const other = { ...again, projectId: 'proj_two' };
      expect(await store(other, 'key')).toEqual({ outcome: 'created', record: other });
    });
  });

  describe('an event', () => {
    it('is written with the end of its job, for each endpoint that wants it, under one id', async () => {
      await make('whe_1');
      await make('whe_2');
      await make('whe_3', { eventTypes: ['batch.expired'] });
      await make('whe_4', { projectId: 'proj_two' });
      expect(await log()).toEqual([]);
      const job = await endJob();
      const deliveries = await log();
      expect(deliveries).toMatchObject([
        { jobId: job.id, eventType: 'batch.completed', state: 'pending', attempts: 0 },
        { jobId: job.id, nextAttemptAtMs: world().nowMs },
      ]);
      expect(new Set(deliveries.map(({ eventId }) => eventId)).size).toBe(1);
      expect(JSON.parse(deliveries[0]?.payload ?? '').id).toBe(deliveries[0]?.eventId);
      expect(await log('proj_two')).toEqual([]);
    });

    it('is taken by one process at a time, signed with what its endpoint has now', async () => {
      const { ledger, project } = world();
      await make('whe_1');
      await endJob();
      const change = {
        url: 'https://new.example',
        secret: 'whsec_new',
        oldSecret: 'whsec_1',
        oldSecretUntilMs: 9e12,
      };
      await ledger.updateWebhookEndpoint({ projectId: project, id: 'whe_1', change, nowMs: world().nowMs });
      const [taken] = await claim();
      expect(taken).toMatchObject({
        delivery: { url: 'https://new.example' },
        secrets: ['whsec_new', 'whsec_1'],
      });
      expect(await claim()).toEqual([]);
      world().nowMs += CLAIM_MS;
      expect(await claim()).toHaveLength(1);
    });

    it('waits for its next attempt, and ends with a good one', async () => {
      const { ledger } = world();
      await make('whe_1');
      await endJob();
      const [first] = await claim();
      const id = first?.delivery.id ?? '';
      const later = {
        ...delivered,
        state: 'pending',
        status: 500,
        error: 'no',
        nextAttemptAtMs: world().nowMs + 5,
      } as const;
      await ledger.recordWebhookAttempt({ id, attempt: later, nowMs: world().nowMs });
      expect(await claim()).toEqual([]);
      world().nowMs += 5;
      expect(await claim()).toHaveLength(1);
      await ledger.recordWebhookAttempt({ id, attempt: delivered, nowMs: world().nowMs });
      expect(await log()).toMatchObject([
        { state: 'delivered', attempts: 2, lastStatus: 200, lastError: null, deliveredAtMs: world().nowMs },
      ]);
      world().nowMs += CLAIM_MS;
      expect(await claim()).toEqual([]);
      expect(await ledger.redeliverWebhook({ projectId: 'proj_two', id, nowMs: world().nowMs })).toBeNull();
      await ledger.redeliverWebhook({ projectId: world().project, id, nowMs: world().nowMs });
      expect(await claim()).toHaveLength(1);
    });

    it('fails with its endpoint, deleted or gone', async () => {
      const { ledger, project } = world();
      await make('whe_1');
      await make('whe_2');
      await endJob();
      await ledger.deleteWebhookEndpoint({ projectId: project, id: 'whe_1' });
      const [left, none] = await claim();
      expect([left?.delivery.endpointId, none]).toEqual(['whe_2', undefined]);
      const gone = {
        ...delivered,
        state: 'failed',
        status: 410,
        error: 'gone',
        disableEndpoint: true,
      } as const;
      await ledger.recordWebhookAttempt({ id: left?.delivery.id ?? '', attempt: gone, nowMs: world().nowMs });
      const endpoint = await ledger.getWebhookEndpoint({ projectId: project, id: 'whe_2' });
      expect(endpoint?.disabledAtMs).toBe(world().nowMs);
      expect((await log()).map(({ state }) => state)).toEqual(['failed', 'failed']);
      await endJob();
      expect(await log()).toHaveLength(2);
    });
  });

  it('a project has one webhook secret, whoever asks first', async () => {
    const { ledger, project } = world();
    const asked = await Promise.all(
      ['a', 'b', 'c'].map((fresh) => ledger.projectWebhookSecret({ projectId: project, fresh })),
    );
    expect(new Set(asked).size).toBe(1);
  });
}
