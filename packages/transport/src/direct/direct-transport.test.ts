import { startDirectPollServer } from '@batch-infer/testkit/direct-poll-server';
import { transportConformance } from '@batch-infer/testkit/transport-conformance';
import { DirectHub, DirectSubscriber } from './index.js';

transportConformance('direct', async () => {
  const hub = new DirectHub();
  const server = await startDirectPollServer(hub);
  return {
    publisher: hub,
    subscriber: (runnerId) => new DirectSubscriber({ serverUrl: server.url, runnerId, waitMs: 5_000 }),
    close: async () => {
      await hub.close();
      await server.close();
    },
  };
});
