import { randomUUID } from 'node:crypto';
import type { Priority } from '@batch-infer/contracts';
import { laneName, type Offer } from '@batch-infer/contracts/runner-protocol';
import { chaosPublisher, chaosSubscriber } from '@batch-infer/testkit/chaos-transport/index';
import { transportConformance } from '@batch-infer/testkit/transport-conformance';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningStack, startStack } from '../../../../scripts/stack/index.mjs';
import type { OfferHandler, OfferSubscription } from '../port.js';
import {
  createKafkaPublisher,
  createKafkaSubscriber,
  type KafkaOptions,
  type KafkaPublisher,
  parseKafkaOptions,
} from './index.js';
import { silentKafkaLogger } from './kafka-logger.js';
import { createKafkajsClient } from './kafkajs-client.js';
import { deadTopic, laneTopic, laneTopics, runnersGroup } from './topic-names.js';

const stack = await startBroker();
afterAll(() => stack?.stop());

/** The one broker of this file; every test has topics and groups of its own. */
async function startBroker(): Promise<RunningStack | null> {
  try {
    return await startStack({ only: ['kafka'] });
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`\nSKIPPED: the Kafka transport is not tested on a broker: ${reason}\n\n`);
    return null;
  }
}

const optionsOf = (): KafkaOptions =>
  parseKafkaOptions({ ...stack?.env, BATCH_INFER_KAFKA_TOPIC_PREFIX: `t-${randomUUID().slice(0, 8)}` });

/** What the control plane does with claims: the first one at an epoch gets the shard, all others are refused. */
class FakeLedger {
  readonly claims = new Map<string, number>();
  refused = 0;

  readonly handle: OfferHandler = async ({ shard_id }) => {
    if (this.claims.has(shard_id)) this.refused += 1;
    else this.claims.set(shard_id, 1);
    return { outcome: 'taken' };
  };

  unclaimed(offers: readonly Offer[]): Offer[] {
    return offers.filter(({ shard_id }) => !this.claims.has(shard_id));
  }
}

function makeOffers(count: number, fields: { priority?: Priority; prefix?: string } = {}): Offer[] {
  const { priority = 'normal', prefix = 'shard' } = fields;
  return Array.from({ length: count }, (_, index) => ({
    shard_id: `${prefix}-${index}`,
    epoch: 0,
    lane: laneName(priority, 'm'),
    model: 'm',
    priority,
    items: 256,
    job_id: 'job_1',
    offered_at_ms: Date.now(),
  }));
}

async function eventually(condition: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) expect.fail(`not within ${withinMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.runIf(stack !== null)('the Kafka transport on a real broker', () => {
  let options: KafkaOptions;
  let publisher: KafkaPublisher;
  let subscriptions: OfferSubscription[];
  let kafka: Kafka;

  beforeEach(() => {
    options = optionsOf();
    publisher = createKafkaPublisher({ options });
    subscriptions = [];
    kafka = new Kafka({ brokers: [...options.brokers], logLevel: logLevel.NOTHING });
  });

  afterEach(async () => {
    await Promise.all(subscriptions.map((subscription) => subscription.close()));
    await publisher.close();
  });

  async function subscribe(handle: OfferHandler): Promise<OfferSubscription> {
    const subscription = await createKafkaSubscriber({ options }).subscribe({ models: ['m'], handle });
    subscriptions.push(subscription);
    return subscription;
  }

  const topicOf = (priority: Priority) => laneTopic({ prefix: options.topicPrefix, priority, model: 'm' });
  const groupId = () => runnersGroup({ prefix: options.topicPrefix, model: 'm' });

  async function withAdmin<Result>(
    work: (admin: ReturnType<Kafka['admin']>) => Promise<Result>,
  ): Promise<Result> {
    const admin = kafka.admin();
    await admin.connect();
    try {
      return await work(admin);
    } finally {
      await admin.disconnect();
    }
  }

  /** Records of all lanes that the group has not committed. */
  async function readLag(): Promise<number> {
    const admin = createKafkajsClient(options, silentKafkaLogger).createAdmin();
    const topics = [...laneTopics({ prefix: options.topicPrefix, model: 'm' }).keys()];
    const lags = await Promise.all(topics.map((topic) => admin.readLag({ topic, groupId: groupId() })));
    await admin.close();
    return lags.flat().reduce((sum, lag) => sum + lag, 0);
  }

  /** Offers again what nobody claims, as the sweeper does. */
  async function sweepUntilClaimed(
    ledger: FakeLedger,
    offers: readonly Offer[],
    target = publisher,
  ): Promise<void> {
    let sweptMs = performance.now();
    await eventually(async () => {
      if (performance.now() - sweptMs > 1_500) {
        await target.publish({ offers: ledger.unclaimed(offers) }).catch(() => {});
        sweptMs = performance.now();
      }
      return ledger.unclaimed(offers).length === 0;
    }, 60_000);
  }

  transportConformance('kafka', async () => {
    const ownOptions = optionsOf();
    const ownPublisher = createKafkaPublisher({ options: ownOptions });
    return {
      publisher: ownPublisher,
      subscriber: (runnerId) => createKafkaSubscriber({ options: { ...ownOptions, clientId: runnerId } }),
      close: () => ownPublisher.close(),
    };
  });

  it('I4: every shard is claimed once, whatever is lost, doubled, shuffled or replayed on the way', async () => {
    const ledger = new FakeLedger();
    const chaos = { drop: 0.3, double: 0.3 };
    for (const seed of [1, 2]) {
      const subscriber = chaosSubscriber(createKafkaSubscriber({ options }), { seed, ...chaos });
      subscriptions.push(await subscriber.subscribe({ models: ['m'], handle: ledger.handle }));
    }
    const offers = makeOffers(200);
    const chaotic = chaosPublisher(publisher, { seed: 3, ...chaos, shuffle: true, replay: 0.2 });
    await chaotic.publish({ offers });
    let sweptMs = performance.now();
    await eventually(async () => {
      if (performance.now() - sweptMs > 500) {
        await chaotic.publish({ offers: ledger.unclaimed(offers) });
        sweptMs = performance.now();
      }
      return ledger.unclaimed(offers).length === 0;
    });
    expect(ledger.claims.size).toBe(200);
    expect(ledger.refused).toBeGreaterThan(0);
  });

  it('I7: an offset is committed only once its offer was taken', async () => {
    const { promise: answered, resolve: answer } = Promise.withResolvers<{ outcome: 'taken' }>();
    let asked = 0;
    await subscribe(() => {
      asked += 1;
      return answered;
    });
    await publisher.publish({ offers: makeOffers(1) });
    await eventually(() => asked === 1);
    expect(await readLag()).toBeGreaterThanOrEqual(1);
    answer({ outcome: 'taken' });
    await eventually(async () => (await readLag()) === 0);
  });

  it('I7: a busy offer is never committed, by this runner or when it leaves, and comes to the next one', async () => {
    let asked = 0;
    const busy = await subscribe(async () => {
      asked += 1;
      return { outcome: 'busy', retryAfterMs: 50 };
    });
    await publisher.publish({ offers: makeOffers(5) });
    await eventually(() => asked > 15);
    await busy.close();
    // More than 5 when the client had to send some of them twice.
    expect(await readLag()).toBeGreaterThanOrEqual(5);
    const ledger = new FakeLedger();
    await subscribe(ledger.handle);
    await eventually(() => ledger.claims.size === 5);
    await eventually(async () => (await readLag()) === 0);
  });

  it('does not hold up other partitions for a busy one', async () => {
    const taken = new Set<string>();
    const offers = makeOffers(60);
    await subscribe(async ({ shard_id }) => {
      if (shard_id === 'shard-7') return { outcome: 'busy', retryAfterMs: 600_000 };
      taken.add(shard_id);
      return { outcome: 'taken' };
    });
    await publisher.publish({ offers });
    // Of 60 offers over 12 partitions, at most those of one partition wait.
    await eventually(() => taken.size >= 55);
    expect(taken.has('shard-7')).toBe(false);
  });

  it('takes what waits of a higher priority first', async () => {
    const order: Priority[] = [];
    const taken = new Set<string>();
    for (const priority of ['low', 'normal', 'high'] as const)
      await publisher.publish({ offers: makeOffers(4, { priority, prefix: priority }) });
    await subscribe(async ({ priority, shard_id }) => {
      order.push(priority);
      taken.add(shard_id);
      return { outcome: 'taken' };
    });
    await eventually(() => taken.size === 12);
    expect(order).toEqual([...order].sort((a, b) => 'hnl'.indexOf(a[0] ?? '') - 'hnl'.indexOf(b[0] ?? '')));
  });

  it('survives a replay of everything from offset 0: known offers are refused, the rest goes on', async () => {
    const ledger = new FakeLedger();
    const first = await subscribe(ledger.handle);
    await publisher.publish({ offers: makeOffers(40) });
    await eventually(() => ledger.claims.size === 40);
    await first.close();
    await withAdmin((admin) => admin.deleteGroups([groupId()]));
    await subscribe(ledger.handle);
    await publisher.publish({ offers: makeOffers(10, { prefix: 'later' }) });
    await eventually(() => ledger.claims.size === 50 && ledger.refused >= 40);
    await eventually(async () => (await readLag()) === 0);
  });

  it('puts what is no offer into the dead topic, with the reason, and reads on behind it', async () => {
    const ledger = new FakeLedger();
    await publisher.lanes.prepare({ models: ['m'] });
    const producer = kafka.producer();
    await producer.connect();
    const topic = topicOf('normal');
    await producer.send({
      topic,
      messages: [{ partition: 3, key: 'k', value: '{"no":"offer"}', headers: { mine: 'h' } }],
    });
    const offers = makeOffers(3);
    await producer.send({
      topic,
      messages: offers.map((offer) => ({ partition: 3, value: JSON.stringify(offer) })),
    });
    await producer.disconnect();
    await subscribe(ledger.handle);
    await eventually(() => ledger.claims.size === 3);

    const dead: { value: string | undefined; headers: Record<string, string> }[] = [];
    const consumer = kafka.consumer({ groupId: `${options.topicPrefix}-dead` });
    await consumer.subscribe({ topic: deadTopic({ prefix: options.topicPrefix }), fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]);
        dead.push({ value: message.value?.toString(), headers: Object.fromEntries(headers) });
      },
    });
    await eventually(() => dead.length > 0);
    await consumer.disconnect();
    expect(dead).toEqual([
      {
        value: '{"no":"offer"}',
        headers: expect.objectContaining({
          mine: 'h',
          'batch-infer-reason': expect.stringContaining('shard_id'),
          'batch-infer-topic': topic,
          'batch-infer-partition': '3',
          'batch-infer-offset': '0',
        }),
      },
    ]);
    await eventually(async () => (await readLag()) === 0);
  });

  it('carries a trace context from publisher to handler', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const traced = createKafkaPublisher({ options, traceparentOf: () => traceparent });
    const seen: string[] = [];
    const ledger = new FakeLedger();
    const subscriber = createKafkaSubscriber({
      options,
      withTraceparent: (context, run) => {
        seen.push(context);
        return run();
      },
    });
    subscriptions.push(await subscriber.subscribe({ models: ['m'], handle: ledger.handle }));
    await traced.publish({ offers: makeOffers(1) });
    await eventually(() => ledger.claims.size === 1);
    expect(seen).toEqual([traceparent]);
    await traced.close();
  });

  it('loses no offer while runners join and leave', async () => {
    const ledger = new FakeLedger();
    const all: Offer[] = [];
    await subscribe(ledger.handle);
    for (let round = 0; round < 4; round += 1) {
      const guest = await subscribe(ledger.handle);
      for (let burst = 0; burst < 5; burst += 1) {
        const offers = makeOffers(20, { prefix: `r${round}-${burst}` });
        all.push(...offers);
        await publisher.publish({ offers });
      }
      await eventually(() => guest.health().state === 'up');
      if (round % 2 === 0) await guest.close();
    }
    // Nobody offers again here: Kafka itself must have kept them all.
    await eventually(() => ledger.claims.size === all.length);
    await eventually(async () => (await readLag()) === 0);
  });

  it('spreads offers over partitions that a lane is given later', async () => {
    const ledger = new FakeLedger();
    await subscribe(ledger.handle);
    const before = makeOffers(12, { prefix: 'before' });
    await publisher.publish({ offers: before });
    await sweepUntilClaimed(ledger, before);
    const topic = topicOf('normal');
    await withAdmin((admin) => admin.createPartitions({ topicPartitions: [{ topic, count: 15 }] }));
    await publisher.tick();
    const later = makeOffers(60, { prefix: 'later' });
    await publisher.publish({ offers: later });
    // Nobody offers again here: none may go to a partition that only some have heard of.
    await eventually(() => ledger.unclaimed(later).length === 0);
    await eventually(async () => {
      const offsets = await withAdmin((admin) => admin.fetchTopicOffsets(topic));
      return offsets.length === 15 && offsets.every(({ high }) => Number(high) > 0);
    });
  });

  it('makes the lanes with the settings that were asked for', async () => {
    await publisher.lanes.prepare({ models: ['m'] });
    const admin = createKafkajsClient(options, silentKafkaLogger).createAdmin();
    const topics = [...laneTopics({ prefix: options.topicPrefix, model: 'm' }).keys()];
    expect([...(await admin.countPartitions(topics)).values()]).toEqual([12, 12, 12]);
    const settings = await admin.readSettings(topics, ['cleanup.policy', 'retention.ms']);
    for (const topic of topics)
      expect(settings.get(topic)).toEqual({ 'cleanup.policy': 'delete', 'retention.ms': '86400000' });
    await admin.close();
    expect(publisher.health()).toEqual({ state: 'up', reason: null });
  });

  it('brings offers fast at low load (printed, not asserted)', async () => {
    const latenciesMs: number[] = [];
    const publishedMs = new Map<string, number>();
    await publisher.lanes.prepare({ models: ['m'] });
    const subscription = await subscribe(async ({ shard_id }) => {
      latenciesMs.push(performance.now() - (publishedMs.get(shard_id) ?? Number.NaN));
      return { outcome: 'taken' };
    });
    await eventually(() => subscription.health().state === 'up');
    for (const offer of makeOffers(300)) {
      publishedMs.set(offer.shard_id, performance.now());
      await publisher.publish({ offers: [offer] });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await eventually(() => latenciesMs.length === 300);
    latenciesMs.sort((a, b) => a - b);
    const percentile = (share: number) =>
      (latenciesMs[Math.floor(latenciesMs.length * share)] ?? 0).toFixed(1);
    process.stderr.write(
      `offer to handler over Kafka: p50 ${percentile(0.5)} ms, p99 ${percentile(0.99)} ms\n`,
    );
    expect(latenciesMs.every((latencyMs) => latencyMs > 0)).toBe(true);
  });

  describe('when the broker fails', () => {
    it('comes back by itself after kill -9 on the same data, and loses no offer that was acknowledged', async () => {
      const ledger = new FakeLedger();
      const subscription = await subscribe(ledger.handle);
      await publisher.publish({ offers: makeOffers(30, { prefix: 'before' }) });
      await eventually(() => ledger.claims.size === 30);
      await publisher.publish({ offers: makeOffers(30, { prefix: 'meanwhile' }) });
      await stack?.killPart('kafka');
      await expect(publisher.publish({ offers: makeOffers(5, { prefix: 'lost' }) })).rejects.toThrow();
      await publisher.tick();
      expect(publisher.health().state).toBe('down');
      await eventually(() => subscription.health().state === 'down');
      await stack?.restartPart('kafka');
      await eventually(() => ledger.claims.size >= 60, 60_000);
      const later = makeOffers(30, { prefix: 'later' });
      await publisher.publish({ offers: later }).catch(() => {});
      await sweepUntilClaimed(ledger, later);
      await eventually(() => subscription.health().state === 'up');
      await eventually(() => publisher.health().state === 'up');
      await eventually(async () => (await readLag()) === 0);
    });

    it('goes on with topics that were deleted and made again', async () => {
      const ledger = new FakeLedger();
      await subscribe(ledger.handle);
      await publisher.publish({ offers: makeOffers(20, { prefix: 'before' }) });
      await eventually(() => ledger.claims.size === 20);
      await withAdmin((admin) =>
        admin.deleteTopics({ topics: [...laneTopics({ prefix: options.topicPrefix, model: 'm' }).keys()] }),
      );
      const later = makeOffers(20, { prefix: 'later' });
      await publisher.publish({ offers: later }).catch(() => {});
      await sweepUntilClaimed(ledger, later);
      expect(ledger.claims.size).toBe(40);
    });

    it('makes one deleted lane again without anybody publishing to it', async () => {
      const ledger = new FakeLedger();
      await subscribe(ledger.handle);
      await publisher.publish({ offers: makeOffers(1) });
      await eventually(() => ledger.claims.size === 1);
      await withAdmin((admin) => admin.deleteTopics({ topics: [topicOf('low')] }));
      await eventually(async () => {
        await publisher.tick();
        return withAdmin(async (admin) => (await admin.listTopics()).includes(topicOf('low')));
      });
      const offers = makeOffers(5, { priority: 'low', prefix: 'low' });
      await publisher.publish({ offers }).catch(() => {});
      await sweepUntilClaimed(ledger, offers);
    });
  });
});
