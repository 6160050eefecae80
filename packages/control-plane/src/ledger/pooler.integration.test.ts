import { connect, createServer, type Socket } from 'node:net';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../ports/clock.js';
import { Signals } from '../ports/signals.js';
import { silentLogger } from '../telemetry/logger.js';
import { SignalRelay } from './signal-relay.js';
import { openLedger } from './sql-ledger.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'PostgreSQL behind a pooler');

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const NOTIFICATION = Buffer.from('batch_infer_signals\0');

/** What matters here of a pooler in transaction mode: it knows few start-up parameters, and tells no notification. */
async function openPooler(): Promise<string> {
  const url = new URL(serverUrl ?? 'postgres://localhost');
  const target = { host: url.hostname, port: Number(url.port || 5432) };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.once('data', (startup) => {
      if (startup.includes('statement_timeout')) {
        client.end(refusal('unsupported startup parameter: statement_timeout'));
        return;
      }
      upstream.write(startup);
      client.on('data', (chunk) => upstream.write(chunk));
      upstream.on('data', (chunk) => {
        const isNotification = chunk[0] === 'A'.charCodeAt(0) && chunk.includes(NOTIFICATION);
        if (!isNotification) client.write(chunk);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  url.hostname = '127.0.0.1';
  url.port = String(typeof address === 'object' && address ? address.port : 0);
  return url.href;
}

/** An ErrorResponse of PostgreSQL's protocol. */
function refusal(message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C08P01\0M${message}\0\0`);
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

describe.runIf(serverUrl !== null)('PostgreSQL behind a pooler in transaction mode', () => {
  it('is used, with the limits of statements in each transaction', async () => {
    const ledger = await openLedger({ databaseUrl: await openPooler(), clock: systemClock });
    cleanups.push(() => ledger.close());
    await ledger.migrate();
    await ledger.check();
    expect(await ledger.getJob({ projectId: 'p', id: 'job_none' })).toBeNull();
  });

  it('tells no signals, and that is said', async () => {
    const logger = silentLogger();
    const warnings = vi.spyOn(logger, 'warn');
    const relay = new SignalRelay({
      databaseUrl: await openPooler(),
      signals: new Signals(),
      logger,
      limits: { answerMs: 1_000, askIntervalMs: 10_000 },
    });
    cleanups.push(() => relay.close());
    await relay.start();
    await expect
      .poll(() => warnings.mock.calls.map(([text]) => text))
      .toEqual([expect.stringContaining('pooler in transaction mode')]);
  });
});
