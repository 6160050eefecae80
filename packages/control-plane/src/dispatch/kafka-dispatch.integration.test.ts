import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClaimResponse } from '@batch-infer/contracts/runner-protocol';
import type { OfferHandler } from '@batch-infer/transport';
import { createKafkaSubscriber, parseKafkaOptions } from '@batch-infer/transport/kafka';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { type RunningStack, startStack } from '../../../../scripts/stack/index.mjs';
import { parseControlPlaneConfig } from '../config.js';
import { startControlPlane } from '../start-control-plane.js';
import { silentLogger } from '../telemetry/logger.js';
import { reportOf, segmentOf } from '../use-cases-fixture.js';

const stack = await startBroker();
afterAll(() => stack?.stop());

async function startBroker(): Promise<RunningStack | null> {
  try {
    return await startStack({ only: ['kafka'] });
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`\nSKIPPED: dispatch is not tested on a broker: ${reason}\n\n`);
    return null;
  }
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A control plane over a lane prefix of its own, and a runner that ends every shard in the moment it has it. */
async function openWorld() {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-kafka-dispatch-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const kafka = { ...stack?.env, BATCH_INFER_KAFKA_TOPIC_PREFIX: `d-${randomUUID().slice(0, 8)}` };
  const config = parseControlPlaneConfig({
    ...kafka,
    BATCH_INFER_DATABASE_URL: '',
    BATCH_INFER_BLOBS: '',
    BATCH_INFER_DATA: folder,
    BATCH_INFER_PORT: '0',
  });
  const server = await startControlPlane(config, { logger: silentLogger() });
  cleanups.push(() => server.close());
  const headers = { 'x-batch-infer-protocol': '1', 'content-type': 'application/json' };
  const post = async (path: string, body: unknown) =>
    (await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json();
  const engine = { id: 'engine-0', models: ['m'], healthy: true, window: 4, in_flight: 0, problem: null };
  const report = { ...reportOf('runner-1'), engines: [engine], leases: [] };
  await post('/v1/runner/renew', report);

  const order: string[] = [];
  const handle: OfferHandler = async (offer) => {
    const claim = { runner_id: 'runner-1', shard_id: offer.shard_id, epoch: offer.epoch };
    const answer: ClaimResponse = await post('/v1/runner/claim', claim);
    if (answer.outcome !== 'claimed') return { outcome: 'taken' };
    const { shard_id: id, epoch, first_index: first, priority } = answer.lease;
    order.push(priority);
    const segment = new Uint8Array(segmentOf([first]));
    await fetch(`${server.url}/v1/runner/shards/${id}/settle?epoch=${epoch}`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/x-ndjson' },
      body: segment,
    });
    return { outcome: 'taken' };
  };

  return {
    order,
    kafka,
    post,
    get: async (path: string) => (await fetch(`${server.url}${path}`, { headers })).json(),
    submit: (priority: string, count: number) =>
      Promise.all(
        Array.from({ length: count }, () =>
          post('/v1/jobs', {
            model: 'm',
            endpoint: '/v1/chat/completions',
            priority,
            input: { messages: [{ role: 'user', content: 'hello' }] },
          }),
        ),
      ),
    outstanding: async (): Promise<number> => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      const counts = [...text.matchAll(/^batch_infer_offers_outstanding\{.*\} (\d+)$/gm)];
      return counts.reduce((sum, [, count]) => sum + Number(count), 0);
    },
    run: async () => {
      const options = parseKafkaOptions(kafka, { clientId: 'runner-1' });
      const subscriber = createKafkaSubscriber({ options, logger: silentLogger() });
      const subscription = await subscriber.subscribe({ models: ['m'], handle });
      cleanups.push(() => subscription.close());
    },
  };
}

describe.runIf(stack !== null)('over a real broker', () => {
  it('I8: a lane is filled to its bound; low work gets its share while high work is waiting', async () => {
    const world = await openWorld();
    await world.submit('low', 10);
    await world.submit('high', 80);
    await expect.poll(world.outstanding, { timeout: 30_000 }).toBeGreaterThanOrEqual(8);
    expect(await world.outstanding()).toBeLessThanOrEqual(2 * 8);
    await world.run();
    await expect.poll(() => world.order.length, { timeout: 60_000 }).toBe(90);
    const lastHigh = world.order.lastIndexOf('high');
    const lowBefore = world.order.slice(0, lastHigh).filter((priority) => priority === 'low').length;
    expect(lowBefore).toBeGreaterThanOrEqual(2);
  }, 120_000);

  it('1,000 model names that nobody serves make no topic, and the job beside them runs as if alone', async () => {
    const world = await openWorld();
    const items = Array.from({ length: 1_000 }, (_, index) => ({
      custom_id: `made-up-${index}`,
      body: { model: `made-up-${index}`, messages: [{ role: 'user', content: 'hello' }] },
    }));
    const madeUp = await world.post('/v1/jobs', { endpoint: '/v1/chat/completions', items });
    await world.run();
    await world.submit('normal', 50);
    await expect.poll(() => world.order.length, { timeout: 60_000 }).toBe(50);

    const options = parseKafkaOptions(world.kafka);
    const admin = new Kafka({ brokers: [...options.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    cleanups.push(() => admin.disconnect());
    const ours = (await admin.listTopics()).filter((name) => name.startsWith(`${options.topicPrefix}.`));
    expect(ours.filter((name) => name.includes('.offers.'))).toHaveLength(3);
    const job = await world.get(`/v1/jobs/${madeUp.id}`);
    expect(job.counts).toMatchObject({ total: 1_000, queued: 1_000 });
    expect(job.queue.waiting_for[0].code).toBe('no_runner_for_model');
    expect(await world.outstanding()).toBe(0);
  }, 120_000);
});
