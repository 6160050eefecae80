import { connect, createServer, type Server, type Socket } from 'node:net';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../ports/clock.js';
import { StoreUnavailableError } from '../ports/outage.js';
import { openLedger } from './sql-ledger.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'outages of PostgreSQL');

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A way to the database that can be cut. */
async function openCuttable(url: URL): Promise<{ url: URL; cut(): void; restore(): void }> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server: Server = createServer((client) => {
    if (isCut) return void client.destroy();
    const upstream = connect(Number(url.port || 5432), url.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const cuttable = new URL(url);
  cuttable.hostname = '127.0.0.1';
  cuttable.port = String(typeof address === 'object' && address ? address.port : 0);
  cleanups.push(() => server.close());
  return {
    url: cuttable,
    cut: () => {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    restore: () => {
      isCut = false;
    },
  };
}

describe.runIf(serverUrl !== null)('a database that goes away', () => {
  it('is an outage to reads and transactions alike, and is used again when it is back', async () => {
    const way = await openCuttable(new URL(serverUrl ?? 'postgres://localhost'));
    const ledger = await openLedger({ databaseUrl: way.url.href, clock: systemClock });
    cleanups.push(() => ledger.close());
    await ledger.migrate();
    const ask = [
      () => ledger.getJob({ projectId: 'p', id: 'job_none' }),
      () => ledger.getApiKey({ id: 'key_none' }),
      () => ledger.check(),
      () => ledger.releaseShard({ shardId: 'shard_none', epoch: 1, nowMs: 0 }),
    ];
    for (const each of ask) await each();
    way.cut();
    for (const each of ask) await expect(each()).rejects.toBeInstanceOf(StoreUnavailableError);
    way.restore();
    for (const each of ask) await each();
  });
});
