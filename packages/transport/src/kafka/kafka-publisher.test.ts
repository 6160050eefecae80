import type { Offer } from '@batch-infer/contracts/runner-protocol';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { KafkaAdmin, RecordToSend, TopicToCreate } from './kafka-client.js';
import { parseKafkaOptions } from './kafka-options.js';
import { createKafkaPublisher, type KafkaPublisher } from './kafka-publisher.js';
import { laneTopic } from './topic-names.js';

const options = parseKafkaOptions({
  BATCH_INFER_KAFKA_BROKERS: 'nowhere:1',
  BATCH_INFER_KAFKA_PARTITIONS: '3',
  BATCH_INFER_KAFKA_MIN_INSYNC_REPLICAS: '2',
});
const topic = laneTopic({ prefix: options.topicPrefix, priority: 'normal', model: 'm' });

const offerOf = (shardId: string, model = 'm'): Offer => ({
  shard_id: shardId,
  epoch: 0,
  lane: `normal/${model}`,
  model,
  priority: 'normal',
  items: 1,
  job_id: 'job_1',
  offered_at_ms: 0,
});

let existing: Map<string, number>;
let created: TopicToCreate[];
let sent: RecordToSend[];
let send: (records: readonly RecordToSend[]) => Promise<void>;
let createTopics: (names: readonly string[]) => Promise<void>;
let lag: readonly number[];
let settings: Readonly<Record<string, string>>;
let brokerFailure: Error | null;
let publisher: KafkaPublisher;

const admin: KafkaAdmin = {
  countPartitions: async (names) => {
    if (brokerFailure) throw brokerFailure;
    return new Map([...existing].filter(([name]) => names.includes(name)));
  },
  createTopics: async (topics) => {
    await createTopics(topics.map(({ topic: name }) => name));
    created.push(...topics);
    for (const { topic: name, partitions } of topics) existing.set(name, partitions);
  },
  deleteTopics: async (names) => {
    for (const name of names) existing.delete(name);
  },
  readSettings: async (names) => new Map(names.map((name) => [name, settings])),
  readLag: async () => lag,
  close: async () => {},
};

beforeEach(() => {
  vi.useFakeTimers();
  existing = new Map();
  created = [];
  createTopics = async () => {};
  sent = [];
  lag = [0, 0, 0];
  settings = { 'cleanup.policy': 'delete' };
  brokerFailure = null;
  send = async (records) => {
    sent.push(...records);
  };
  publisher = createKafkaPublisher({
    options,
    traceparentOf: ({ shard_id }) =>
      shard_id === 'traced' ? '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' : null,
    client: {
      createAdmin: () => admin,
      createProducer: () => ({ send: ({ records }) => send(records), close: async () => {} }),
      createConsumer: () => expect.fail('a publisher consumes nothing'),
    },
  });
});

afterEach(async () => {
  await publisher.close();
  vi.useRealTimers();
});

describe('a Kafka publisher', () => {
  it('makes the three lanes of a model and the dead topic before its first offer, and only then', async () => {
    await publisher.publish({ offers: [offerOf('a')] });
    await publisher.publish({ offers: [offerOf('b')] });
    expect(created.map(({ topic: name }) => name.split('.')[2] ?? name)).toEqual([
      'high',
      'normal',
      'low',
      'batch-infer.dead',
    ]);
    expect(created[1]).toEqual({
      topic,
      partitions: 3,
      replicationFactor: -1,
      settings: { 'cleanup.policy': 'delete', 'min.insync.replicas': '2', 'retention.ms': '86400000' },
    });
    expect(sent.map(({ key }) => key)).toEqual(['a', 'b']);
  });

  it('sends a trace context along when there is one', async () => {
    await publisher.publish({ offers: [offerOf('traced'), offerOf('b')] });
    expect(sent.map(({ headers }) => Object.keys(headers))).toEqual([['traceparent'], []]);
  });

  it('deals offers where the fewest wait, by what the group has not read', async () => {
    lag = [50, 0, 50];
    await publisher.publish({ offers: [offerOf('first')] });
    await vi.advanceTimersByTimeAsync(0);
    await publisher.publish({ offers: ['a', 'b', 'c'].map((id) => offerOf(id)) });
    expect(sent.slice(1).map(({ partition }) => partition)).toEqual([1, 1, 1]);
  });

  it('uses the partitions that a lane has, whatever is configured', async () => {
    await publisher.lanes.prepare({ models: ['m'] });
    existing.set(topic, 1);
    const other = createKafkaPublisher({
      options,
      client: {
        createAdmin: () => admin,
        createProducer: () => ({ send: ({ records }) => send(records), close: async () => {} }),
        createConsumer: () => expect.fail('a publisher consumes nothing'),
      },
    });
    await other.publish({ offers: ['a', 'b', 'c'].map((id) => offerOf(id)) });
    expect(sent.map(({ partition }) => partition)).toEqual([0, 0, 0]);
    await other.close();
  });

  it('rejects at its own deadline when the client hangs, and is well again with the next that arrives', async () => {
    send = () => new Promise(() => {});
    const publishing = publisher.publish({ offers: [offerOf('a')] });
    const refusal = expect(publishing).rejects.toThrow('handing offers to Kafka took longer than 5000 ms');
    await vi.advanceTimersByTimeAsync(5_001);
    await refusal;
    expect(publisher.health()).toMatchObject({ state: 'degraded' });
    send = async () => {};
    await publisher.publish({ offers: [offerOf('a')] });
    expect(publisher.health()).toEqual({ state: 'up', reason: null });
  });

  it('stops waiting when its caller does', async () => {
    send = () => new Promise(() => {});
    const stopping = new AbortController();
    const publishing = publisher.publish({ offers: [offerOf('a')], signal: stopping.signal });
    const refusal = expect(publishing).rejects.toThrow('shutdown');
    stopping.abort(new Error('shutdown'));
    await refusal;
  });

  it('uses partitions that a lane is given later', async () => {
    await publisher.lanes.prepare({ models: ['m'] });
    existing.set(topic, 6);
    await publisher.tick();
    await publisher.publish({ offers: Array.from({ length: 60 }, (_, index) => offerOf(`s-${index}`)) });
    expect(new Set(sent.map(({ partition }) => partition)).size).toBe(6);
  });

  it('makes topics again that were deleted, before anybody publishes to them', async () => {
    await publisher.publish({ offers: [offerOf('a')] });
    existing.delete(topic);
    await publisher.tick();
    expect(existing.get(topic)).toBe(3);
  });

  it('makes a deleted topic again after a publish that failed', async () => {
    await publisher.publish({ offers: [offerOf('a')] });
    existing.delete(topic);
    send = () => Promise.reject(new Error('This server does not host this topic-partition'));
    await expect(publisher.publish({ offers: [offerOf('b')] })).rejects.toThrow('does not host');
    send = async () => {};
    await publisher.publish({ offers: [offerOf('b')] });
    expect(existing.get(topic)).toBe(3);
  });

  it('says that the broker is away, and when it is back', async () => {
    brokerFailure = new Error('connect ECONNREFUSED');
    await publisher.tick();
    expect(publisher.health()).toEqual({ state: 'down', reason: 'Kafka: connect ECONNREFUSED' });
    brokerFailure = null;
    await publisher.tick();
    expect(publisher.health()).toEqual({ state: 'up', reason: null });
  });

  it('names a lane that somebody made with settings that do not fit', async () => {
    existing.set(topic, 3);
    settings = { 'cleanup.policy': 'compact' };
    await publisher.lanes.prepare({ models: ['m'] });
    expect(publisher.health()).toMatchObject({
      state: 'degraded',
      reason: expect.stringContaining('cleanup.policy=compact'),
    });
  });

  describe('with a lane that fails', () => {
    const sentModels = () => new Set(sent.map(({ topic: name }) => name.split('.')[3]?.split('-')[0]));

    it('takes the offers of all others, whose topics are made beside it', async () => {
      createTopics = async (names) => {
        if (names.some((name) => name.includes('bad'))) await new Promise(() => {});
      };
      const publishing = publisher.publish({ offers: [offerOf('a', 'bad'), offerOf('b')] });
      const refusal = expect(publishing).rejects.toThrow('making the Kafka topics of a model took longer');
      await vi.advanceTimersByTimeAsync(0);
      expect(sentModels()).toEqual(new Set(['m']));
      await vi.advanceTimersByTimeAsync(5_001);
      await refusal;
      expect(publisher.lanes.problems()).toMatchObject([{ lane: 'normal/bad', model: 'bad', waits: true }]);
      expect(publisher.health()).toMatchObject({ state: 'degraded' });
    });

    it('asks for growing pauses, until an offer arrives or the broker is back', async () => {
      send = () => Promise.reject(new Error('not this one'));
      const waits = () => publisher.lanes.problems().map((problem) => problem.waits);
      const fail = () =>
        expect(publisher.publish({ offers: [offerOf('a')] })).rejects.toThrow('not this one');
      await fail();
      await vi.advanceTimersByTimeAsync(501);
      expect(waits()).toEqual([false]);
      await fail();
      await vi.advanceTimersByTimeAsync(501);
      expect(waits()).toEqual([true]);
      brokerFailure = new Error('away');
      await publisher.tick();
      brokerFailure = null;
      await publisher.tick();
      expect(waits()).toEqual([false]);
      send = async () => {};
      await publisher.publish({ offers: [offerOf('a')] });
      expect(publisher.lanes.problems()).toEqual([]);
    });

    it('is not said to be down for it', async () => {
      await publisher.publish({ offers: [offerOf('a')] });
      const countPartitions = admin.countPartitions;
      vi.spyOn(admin, 'countPartitions').mockImplementation(async (names) => {
        if (names.includes(topic)) throw new Error('Not authorized to access topics');
        return countPartitions(names);
      });
      await publisher.tick();
      expect(publisher.health()).toEqual({ state: 'up', reason: null });
      vi.restoreAllMocks();
    });
  });

  it('makes lanes for so many models at most', async () => {
    const few = createKafkaPublisher({
      options: { ...options, maxModels: 2 },
      client: {
        createAdmin: () => admin,
        createProducer: () => ({ send: ({ records }) => send(records), close: async () => {} }),
        createConsumer: () => expect.fail('a publisher consumes nothing'),
      },
    });
    const models = Array.from({ length: 1_000 }, (_, index) => `model-${index}`);
    await expect(few.lanes.prepare({ models })).rejects.toThrow('BATCH_INFER_KAFKA_MAX_MODELS');
    expect([...existing.keys()].filter((name) => name.includes('.offers.'))).toHaveLength(2 * 3);
    await few.close();
  });

  it('removes exactly the lanes of a model, and makes them again for its next offer', async () => {
    existing.set('somebody-elses', 1);
    await publisher.lanes.prepare({ models: ['m', 'm2'] });
    await publisher.lanes.remove({ models: ['m'] });
    expect([...existing.keys()].filter((name) => name.includes('.m-'))).toEqual([]);
    expect(existing.has('somebody-elses')).toBe(true);
    expect([...existing.keys()].filter((name) => name.includes('.m2-'))).toHaveLength(3);
    await publisher.publish({ offers: [offerOf('a')] });
    expect(existing.get(topic)).toBe(3);
  });
});
