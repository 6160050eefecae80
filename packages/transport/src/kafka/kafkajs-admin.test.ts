import { describe, expect, it } from 'vitest';
import { type AdminConnection, KafkajsAdmin } from './kafkajs-admin.js';

/** As kafkajs reports what a broker answered: with its code, wrapped in the error of the retries that it gave up. */
function brokerError(type: string): Error {
  const cause = Object.assign(new Error(`the broker says ${type}`), { type });
  return new Error(cause.message, { cause });
}

/** A cluster that fails the first calls of everything. */
function openAdmin(failures: readonly Error[], limitMs = 2_000) {
  const left = [...failures];
  const seen = { connected: 0, disconnected: 0 };
  const answer = async <Value>(value: Value): Promise<Value> => {
    const failure = left.shift();
    if (failure !== undefined) throw failure;
    return value;
  };
  const connection = (): AdminConnection => ({
    connect: async () => {
      seen.connected += 1;
    },
    disconnect: async () => {
      seen.disconnected += 1;
    },
    createTopics: () => answer(true),
    deleteTopics: () => answer(undefined),
    describeConfigs: () => answer({ resources: [], throttleTime: 0 }),
    fetchTopicMetadata: async (options) =>
      answer({
        topics: (options?.topics ?? []).map((name) => ({
          name,
          partitions: [{ partitionErrorCode: 0, partitionId: 0, leader: 1, replicas: [1], isr: [1] }],
        })),
      }),
    fetchTopicOffsets: async () => [{ partition: 0, offset: '9', high: '9', low: '2' }],
    fetchOffsets: ({ topics }) =>
      answer(
        (topics ?? []).map((topic) => ({
          topic,
          partitions: [{ partition: 0, offset: '5', metadata: null }],
        })),
      ),
  });
  return { admin: new KafkajsAdmin({ admin: connection }, { limitMs }), seen };
}

const PASSING = [
  'NOT_COORDINATOR_FOR_GROUP',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'GROUP_LOAD_IN_PROGRESS',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_FOR_PARTITION',
  'NOT_CONTROLLER',
];

describe('what a broker says while it comes back is asked again', () => {
  it.each(PASSING)('reading the lag, on %s', async (code) => {
    const { admin } = openAdmin([brokerError(code), brokerError(code)]);
    expect(await admin.readLag({ topic: 't', groupId: 'g' })).toEqual([4]);
  });

  it.each(PASSING)('making, deleting and reading topics, on %s', async (code) => {
    const topics = [{ topic: 't', partitions: 1, replicationFactor: 1, settings: {} }];
    await openAdmin([brokerError(code)]).admin.createTopics(topics);
    await openAdmin([brokerError(code)]).admin.deleteTopics(['t']);
    await openAdmin([brokerError(code)]).admin.readSettings(['t'], ['cleanup.policy']);
  });

  it('only until its time is over, and with the reason of the broker', async () => {
    const { admin } = openAdmin(
      Array.from({ length: 100 }, () => brokerError('NOT_COORDINATOR_FOR_GROUP')),
      300,
    );
    await expect(admin.readLag({ topic: 't', groupId: 'g' })).rejects.toThrow('NOT_COORDINATOR_FOR_GROUP');
  });

  it('but not what will not pass', async () => {
    const { admin, seen } = openAdmin([brokerError('GROUP_AUTHORIZATION_FAILED')]);
    await expect(admin.readLag({ topic: 't', groupId: 'g' })).rejects.toThrow('AUTHORIZATION');
    expect(seen.connected).toBe(1);
  });
});

it('a call ends though the broker has gone silent, and the next one connects anew', async () => {
  let silent = true;
  const opened: AdminConnection[] = [];
  const admin = new KafkajsAdmin(
    {
      admin: () => {
        const never = () => new Promise<never>(() => {});
        const connection: AdminConnection = {
          connect: async () => {},
          disconnect: async () => {},
          createTopics: never,
          deleteTopics: never,
          describeConfigs: never,
          fetchOffsets: never,
          fetchTopicOffsets: never,
          fetchTopicMetadata: silent ? never : async () => ({ topics: [] }),
        };
        opened.push(connection);
        return connection;
      },
    },
    { limitMs: 100 },
  );
  await expect(admin.readLag({ topic: 't', groupId: 'g' })).rejects.toThrow('took longer than');
  await expect(admin.createTopics([])).rejects.toThrow('took longer than');
  silent = false;
  expect(await admin.countPartitions(['t'])).toEqual(new Map());
  expect(opened.length).toBeGreaterThanOrEqual(3);
});

it('a connection that one call gave up is left to the others until they have their answers', async () => {
  const slow = Promise.withResolvers<void>();
  const seen: string[] = [];
  let fail = true;
  const admin = new KafkajsAdmin(
    {
      admin: () => ({
        connect: async () => {},
        disconnect: async () => {
          seen.push('disconnected');
        },
        createTopics: async () => true,
        deleteTopics: async () => {},
        describeConfigs: async () => {
          await slow.promise;
          seen.push('answered');
          return { resources: [], throttleTime: 0 };
        },
        fetchOffsets: async () => [],
        fetchTopicOffsets: async () => {
          if (fail) throw new Error('this one fails');
          return [];
        },
        fetchTopicMetadata: async () => ({ topics: [] }),
      }),
    },
    { limitMs: 5_000 },
  );
  const reading = admin.readSettings(['t'], []);
  await expect(admin.readLag({ topic: 't', groupId: 'g' })).rejects.toThrow('this one fails');
  fail = false;
  slow.resolve();
  await reading;
  expect(seen).toEqual(['answered', 'disconnected']);
});
