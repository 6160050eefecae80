import type { Offer } from '@batch-infer/contracts/runner-protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OfferHandler, OfferSubscription } from '../port.js';
import type {
  KafkaAdmin,
  KafkaClient,
  KafkaConsumer,
  KafkaConsumerParams,
  PartitionPosition,
  PausedPartitions,
} from './kafka-client.js';
import { parseKafkaOptions } from './kafka-options.js';
import { createKafkaSubscriber } from './kafka-subscriber.js';
import { laneTopics } from './topic-names.js';

const options = parseKafkaOptions({ BATCH_INFER_KAFKA_BROKERS: 'nowhere:1' });
const [highTopic = '', normalTopic = '', lowTopic = ''] = laneTopics({
  prefix: options.topicPrefix,
  model: 'm',
}).keys();

/** A consumer that is told what happens to it. */
class FakeConsumer implements KafkaConsumer {
  readonly params: KafkaConsumerParams;
  readonly commits: PartitionPosition[] = [];
  paused: PausedPartitions | null = null;
  closed = false;
  commitFailure: Error | null = null;
  advanced: string[] = [];

  constructor(params: KafkaConsumerParams) {
    this.params = params;
  }

  async start(): Promise<void> {
    this.params.onJoin();
  }

  setPaused(paused: PausedPartitions): void {
    this.paused = paused;
  }

  async commit(positions: readonly PartitionPosition[]): Promise<void> {
    if (this.commitFailure) throw this.commitFailure;
    this.commits.push(...positions);
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** Delivers offers as one batch, at offsets from `first`. */
  deliver(topic: string, shardIds: readonly string[], first = 0): Promise<void> {
    return this.params.handleBatch({
      topic,
      partition: 0,
      records: shardIds.map((shardId, index) => ({
        offset: String(first + index),
        key: null,
        value: Buffer.from(JSON.stringify(offerOf(shardId))),
        headers: {},
      })),
      isCurrent: () => !this.closed,
      advance: (offset) => this.advanced.push(offset),
    });
  }
}

const offerOf = (shardId: string): Offer => ({
  shard_id: shardId,
  epoch: 0,
  lane: 'normal/m',
  model: 'm',
  priority: 'normal',
  items: 1,
  job_id: 'job_1',
  offered_at_ms: 0,
});

const consumers: FakeConsumer[] = [];
let topics: Map<string, number>;
let brokerFailure: Error | null;
let subscription: OfferSubscription;

const admin: KafkaAdmin = {
  countPartitions: async (names) => {
    if (brokerFailure) throw brokerFailure;
    return new Map([...topics].filter(([name]) => names.includes(name)));
  },
  createTopics: async () => {},
  deleteTopics: async () => {},
  readSettings: async () => new Map(),
  readLag: async () => [],
  close: async () => {},
};
const client: KafkaClient = {
  createProducer: () => ({ send: async () => {}, close: async () => {} }),
  createAdmin: () => admin,
  createConsumer: (params) => {
    const consumer = new FakeConsumer(params);
    consumers.push(consumer);
    return consumer;
  },
};

const newest = (): FakeConsumer => consumers.at(-1) ?? expect.fail('no consumer was made');
const passTime = (durationMs: number) => vi.advanceTimersByTimeAsync(durationMs);

async function subscribe(handle: OfferHandler = async () => ({ outcome: 'taken' })): Promise<void> {
  subscription = await createKafkaSubscriber({ options, client }).subscribe({ models: ['m'], handle });
  await passTime(0);
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
  consumers.length = 0;
  topics = new Map([highTopic, normalTopic, lowTopic].map((topic) => [topic, 12]));
  brokerFailure = null;
});

afterEach(async () => {
  const closing = subscription.close();
  await passTime(10_000);
  await closing;
  vi.useRealTimers();
});

describe('a subscription', () => {
  it('waits for topics that nobody has made yet, and is well meanwhile', async () => {
    topics.clear();
    await subscribe();
    await passTime(2_000);
    expect(consumers).toHaveLength(0);
    expect(subscription.health()).toEqual({ state: 'up', reason: null });
    topics.set(normalTopic, 12).set(highTopic, 12).set(lowTopic, 12);
    await passTime(300);
    expect(newest().params.topics).toEqual([highTopic, normalTopic, lowTopic]);
  });

  it('gives the lanes of a model a second to show up together, then reads those that are there', async () => {
    topics = new Map([[normalTopic, 12]]);
    await subscribe();
    expect(consumers).toHaveLength(0);
    topics.set(highTopic, 12);
    await passTime(1_500);
    expect(newest().params.topics).toEqual([highTopic, normalTopic]);
  });

  it('reads a lane that is made later, with a new consumer', async () => {
    topics.delete(lowTopic);
    await subscribe();
    await passTime(1_500);
    const first = newest();
    topics.set(lowTopic, 12);
    await passTime(7_000);
    expect(first.closed).toBe(true);
    expect(newest().params.topics).toEqual([highTopic, normalTopic, lowTopic]);
    expect(consumers).toHaveLength(2);
  });

  it('reads partitions that a lane is given later', async () => {
    await subscribe();
    topics.set(normalTopic, 24);
    await passTime(7_000);
    expect(consumers.map(({ closed }) => closed)).toEqual([true, false]);
  });

  it('stops its consumer while a topic is missing, instead of letting it crash five times a second', async () => {
    await subscribe();
    topics.clear();
    newest().params.onCrash({ error: new Error('no such topic'), restarts: true });
    await passTime(1_100);
    expect(newest().closed).toBe(true);
    topics.set(highTopic, 12);
    await passTime(2_000);
    expect(consumers).toHaveLength(2);
  });

  it('builds a new consumer at once when one crashes for good, and later ones more slowly', async () => {
    await subscribe();
    newest().params.onCrash({ error: new Error('crashed'), restarts: false });
    await passTime(300);
    expect(consumers).toHaveLength(2);
    for (let crash = 0; crash < 20; crash += 1) {
      newest().params.onCrash({ error: new Error('crashed'), restarts: false });
      await passTime(1_000);
    }
    expect(consumers.length).toBeLessThan(8);
    expect(consumers.slice(0, -1).every(({ closed }) => closed)).toBe(true);
  });

  it('leaves a consumer alone that restarts by itself', async () => {
    await subscribe();
    newest().params.onCrash({ error: new Error('crashed'), restarts: true });
    await passTime(5_000);
    newest().params.onFetch();
    expect(consumers).toHaveLength(1);
    expect(subscription.health()).toMatchObject({ state: 'degraded' });
    newest().params.onJoin();
    expect(subscription.health()).toMatchObject({ state: 'up' });
  });

  it('replaces a consumer that fetches nothing for 30 s though the broker answers, once in 30 s', async () => {
    await subscribe();
    await passTime(16_000);
    expect(subscription.health()).toMatchObject({ state: 'degraded' });
    expect(consumers).toHaveLength(1);
    await passTime(16_000);
    expect(consumers).toHaveLength(2);
    expect(consumers[0]?.closed).toBe(true);
    await passTime(29_000);
    expect(consumers).toHaveLength(2);
  });

  it('does nothing while the broker is away, but says so', async () => {
    await subscribe();
    brokerFailure = new Error('connect ECONNREFUSED');
    await passTime(120_000);
    expect(consumers).toHaveLength(1);
    expect(subscription.health()).toEqual({ state: 'down', reason: 'Kafka: connect ECONNREFUSED' });
  });

  it('does not wait for ever for a consumer that cannot leave', async () => {
    await subscribe();
    vi.spyOn(newest(), 'close').mockReturnValue(new Promise(() => {}));
    newest().params.onCrash({ error: new Error('crashed'), restarts: false });
    await passTime(5_600);
    expect(consumers).toHaveLength(2);
  });
});

describe('offers', () => {
  it('I7: are committed after they were taken, and not before', async () => {
    const { promise: answered, resolve: answer } = Promise.withResolvers<{ outcome: 'taken' }>();
    await subscribe(() => answered);
    const delivery = newest().deliver(normalTopic, ['a'], 41);
    await passTime(100);
    expect(newest().commits).toEqual([]);
    answer({ outcome: 'taken' });
    await delivery;
    expect(newest().commits).toEqual([{ topic: normalTopic, partition: 0, nextOffset: '42' }]);
    expect(newest().advanced).toEqual(['41']);
  });

  it('I7: that are busy are never committed; their partition waits, then brings them again', async () => {
    await subscribe(async ({ shard_id }) =>
      shard_id === 'b' ? { outcome: 'busy', retryAfterMs: 500 } : { outcome: 'taken' },
    );
    await newest().deliver(normalTopic, ['a', 'b', 'c']);
    expect(newest().advanced).toEqual(['0']);
    expect(newest().commits.map(({ nextOffset }) => nextOffset)).toEqual(['1']);
    expect(newest().paused).toEqual({ all: false, partitions: [{ topic: normalTopic, partition: 0 }] });
    await passTime(501);
    expect(newest().paused).toEqual({ all: false, partitions: [] });
  });

  it('that are busy come again when the runner resumes', async () => {
    await subscribe(async () => ({ outcome: 'busy', retryAfterMs: 60_000 }));
    await newest().deliver(normalTopic, ['a']);
    subscription.pause();
    expect(newest().paused).toMatchObject({ all: true });
    subscription.resume();
    expect(newest().paused).toEqual({ all: false, partitions: [] });
  });

  it('are left where they are by a runner that pauses in the middle of a batch', async () => {
    const seen: string[] = [];
    await subscribe(async ({ shard_id }) => {
      seen.push(shard_id);
      if (seen.length === 2) subscription.pause();
      return { outcome: 'taken' };
    });
    await newest().deliver(normalTopic, ['a', 'b', 'c', 'd']);
    expect(seen).toEqual(['a', 'b']);
    expect(newest().advanced).toEqual(['0', '1']);
  });

  it('whose commit fails do not harm the consumer and are committed with later ones', async () => {
    await subscribe();
    newest().commitFailure = new Error('The group is rebalancing');
    await newest().deliver(normalTopic, ['a']);
    expect(newest().advanced).toEqual(['0']);
    newest().commitFailure = null;
    await newest().deliver(highTopic, ['b'], 7);
    expect(newest().commits).toEqual([
      { topic: normalTopic, partition: 0, nextOffset: '1' },
      { topic: highTopic, partition: 0, nextOffset: '8' },
    ]);
  });

  it('whose commit failed are committed after a while when nothing else comes', async () => {
    await subscribe();
    newest().commitFailure = new Error('no coordinator');
    await newest().deliver(normalTopic, ['a']);
    newest().commitFailure = null;
    await passTime(7_000);
    expect(newest().commits).toEqual([{ topic: normalTopic, partition: 0, nextOffset: '1' }]);
  });

  it('are not committed for partitions of before a rebalance', async () => {
    await subscribe();
    newest().commitFailure = new Error('The group is rebalancing');
    await newest().deliver(normalTopic, ['a']);
    newest().commitFailure = null;
    newest().params.onJoin();
    await passTime(7_000);
    expect(newest().commits).toEqual([]);
  });

  it('that a handler throws at, or never answers, count as busy', async () => {
    await subscribe(async ({ shard_id }) => {
      if (shard_id === 'throws') throw new Error('not my day');
      return new Promise(() => {});
    });
    await newest().deliver(normalTopic, ['throws']);
    const delivery = newest().deliver(highTopic, ['hangs']);
    await passTime(20_001);
    await delivery;
    expect(newest().advanced).toEqual([]);
    expect(newest().commits).toEqual([]);
  });
});
