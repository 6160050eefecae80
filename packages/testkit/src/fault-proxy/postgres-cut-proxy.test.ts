import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { startPostgresCutProxy } from './postgres-cut-proxy.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server that answers each piece with one byte, and remembers what reached it. */
async function start() {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk);
      socket.write('Z');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const targetPort = typeof address === 'object' && address !== null ? address.port : 0;
  const proxy = await startPostgresCutProxy({ targetPort });
  cleanups.push(
    () => server.close(),
    () => proxy.close(),
  );
  const client = connect(proxy.port, '127.0.0.1');
  client.on('error', () => undefined);
  cleanups.push(() => client.destroy());
  await once(client, 'connect');
  return { proxy, client, text: () => Buffer.concat(received).toString('latin1') };
}

function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(4 + body.length);
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body)]);
}
const startup = message('', 'user\0u\0\0');

async function answered(client: Socket, bytes: Buffer): Promise<void> {
  client.write(bytes);
  await once(client, 'data');
}

describe('a cut at COMMIT', () => {
  it('leaves alone what only looks like one', async () => {
    const { proxy, client } = await start();
    proxy.cutCommit(1, 'sent');
    await answered(client, startup);
    await answered(client, message('Q', "insert into t values ('commit')\0"));
    await answered(client, message('B', '\0\0commit\0'));
    expect(proxy.commits()).toBe(0);
    expect(proxy.forgetCut()).toBe(true);
  });

  it.each([
    ['sent', false],
    ['answered', true],
  ] as const)('of the second one, when it is %s', async (at, arrives) => {
    const { proxy, client, text } = await start();
    proxy.cutCommit(2, at);
    await answered(client, startup);
    await answered(client, message('Q', 'commit\0'));
    // Not `once`, which the reset would reject.
    const closed = new Promise((resolve) => client.on('close', resolve));
    // Of a prepared statement, and in two pieces.
    const second = message('P', 'name\0COMMIT\0\0\0');
    client.write(second.subarray(0, 7));
    client.write(second.subarray(7));
    await closed;
    expect(proxy.commits()).toBe(2);
    expect(proxy.forgetCut()).toBe(false);
    await expect.poll(() => text().includes('COMMIT')).toBe(arrives);
  });
});
