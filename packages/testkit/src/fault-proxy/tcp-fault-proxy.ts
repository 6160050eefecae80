import { connect, createServer, type Socket } from 'node:net';
import { LoopbackListener } from './loopback-listener.js';

export interface TcpFaultProxyOptions {
  readonly targetHost?: string;
  readonly targetPort: number;
  /** Default 0, which takes a free port. */
  readonly port?: number;
}

/** For what does not speak HTTP: databases, brokers. */
export interface TcpFaultProxy {
  readonly port: number;
  /** Connections accepted so far. */
  connections(): number;
  /** Resets every open connection once. */
  dropConnections(): void;
  /** Keeps connections open but moves no byte until `pass`. */
  stall(): void;
  /**
   * Every connection that is open now stays open for ever and moves no byte any more, also after `pass`, as behind a NAT
   * that forgot it: neither end learns of it, also not when the other closes. New ones work.
   */
  mute(): void;
  /**
   * The next time a client sends these bytes (`commit`, say), they reach the target, and its answer never comes back:
   * the connection is reset instead. Once for each call.
   */
  loseAnswerTo(bytes: string): void;
  /** Closes the port: connecting is refused until `pass`. */
  refuse(): Promise<void>;
  /** Forwards again, with the port open. */
  pass(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a TCP proxy on loopback that stalls, drops or refuses when told to. */
export async function startTcpFaultProxy(options: TcpFaultProxyOptions): Promise<TcpFaultProxy> {
  let stalled = false;
  const answersToLose: Buffer[] = [];
  const muted = new Set<Socket>();
  const pairs = new Set<readonly [client: Socket, upstream: Socket]>();

  const listener = new LoopbackListener(
    () =>
      createServer({ noDelay: true }, (client) => {
        const upstream = connect({ port: options.targetPort, host: options.targetHost ?? '127.0.0.1' });
        const pair = [client, upstream] as const;
        pairs.add(pair);
        client.pipe(upstream);
        upstream.pipe(client);
        client.on('data', (chunk: Buffer) => {
          const place = answersToLose.findIndex((bytes) => chunk.includes(bytes));
          if (place < 0) return;
          answersToLose.splice(place, 1);
          upstream.unpipe(client);
          upstream.once('data', () => client.resetAndDestroy());
          upstream.resume();
        });
        client.on('error', () => upstream.destroy());
        upstream.on('error', () => {
          if (!muted.has(client)) client.resetAndDestroy();
        });
        client.on('close', () => {
          pairs.delete(pair);
          if (!muted.has(upstream)) upstream.destroy();
        });
        if (stalled) hold(pair);
      }),
    options.port ?? 0,
  );

  function hold([client, upstream]: readonly [Socket, Socket]): void {
    client.unpipe(upstream).pause();
    upstream.unpipe(client).pause();
  }

  async function pass(): Promise<void> {
    if (stalled) {
      stalled = false;
      for (const [client, upstream] of pairs) {
        client.pipe(upstream);
        upstream.pipe(client);
      }
    }
    await listener.open();
  }

  await listener.open();
  return {
    get port() {
      return listener.port;
    },
    connections: () => listener.connections,
    dropConnections() {
      listener.drop();
    },
    stall() {
      stalled = true;
      for (const pair of pairs) hold(pair);
    },
    mute() {
      for (const pair of pairs) {
        hold(pair);
        pairs.delete(pair);
        for (const socket of pair) {
          muted.add(socket);
          // What it still sends is swallowed.
          socket.resume();
        }
      }
    },
    loseAnswerTo(bytes) {
      answersToLose.push(Buffer.from(bytes));
    },
    refuse: () => listener.close(),
    pass,
    close: async () => {
      for (const socket of muted) socket.destroy();
      await listener.close();
    },
  };
}
