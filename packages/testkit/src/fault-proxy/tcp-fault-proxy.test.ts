import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { startTcpFaultProxy } from './tcp-fault-proxy.js';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start() {
  const mirror = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve));
  const address = mirror.address();
  const targetPort = typeof address === 'object' && address !== null ? address.port : 0;
  const proxy = await startTcpFaultProxy({ targetPort });
  cleanups.push(
    () => new Promise((resolve) => mirror.close(resolve)),
    () => proxy.close(),
  );
  return proxy;
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  cleanups.push(async () => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function echo(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [data] = (await once(socket, 'data')) as [Buffer];
  return data.toString();
}

describe('startTcpFaultProxy', () => {
  it('moves bytes both ways', async () => {
    const proxy = await start();
    expect(await echo(await open(proxy.port), 'hello')).toBe('hello');
    expect(proxy.connections()).toBe(1);
  });

  it('stalls without closing, and goes on when it passes again', async () => {
    const proxy = await start();
    const socket = await open(proxy.port);
    await echo(socket, 'before');
    proxy.stall();
    socket.write('held');
    const late = await open(proxy.port);
    late.write('late');
    const answers = Promise.all([once(socket, 'data'), once(late, 'data')]);
    await proxy.pass();
    expect((await answers).map(([data]) => String(data))).toEqual(['held', 'late']);
  });

  it('resets open connections when told to drop them', async () => {
    const proxy = await start();
    const socket = await open(proxy.port);
    await echo(socket, 'x');
    const failed = once(socket, 'error').catch((error: unknown) => [error]);
    proxy.dropConnections();
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  it('refuses connections until it passes again', async () => {
    const proxy = await start();
    await proxy.refuse();
    await expect(open(proxy.port)).rejects.toThrow('ECONNREFUSED');
    await proxy.pass();
    expect(await echo(await open(proxy.port), 'again')).toBe('again');
  });

  it('mutes the connections that are open for ever, and new ones work', async () => {
    const proxy = await start();
    const socket = await open(proxy.port);
    await echo(socket, 'before');
    proxy.mute();
    let heard = '';
    socket.on('data', (data) => {
      heard += data.toString();
    });
    socket.write('lost');
    await proxy.pass();
    expect(await echo(await open(proxy.port), 'new')).toBe('new');
    expect(heard).toBe('');
    expect(socket.destroyed).toBe(false);
  });

  it('loses the answer to chosen bytes, once', async () => {
    const proxy = await start();
    const socket = await open(proxy.port);
    await echo(socket, 'before');
    proxy.loseAnswerTo('commit');
    const failed = once(socket, 'error').catch((error: unknown) => [error]);
    socket.write('a commit, please');
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
    expect(await echo(await open(proxy.port), 'commit')).toBe('commit');
  });
});
