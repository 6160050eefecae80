import type { AddressInfo, Server, Socket } from 'node:net';

const HOST = '127.0.0.1';

/** A server on one loopback port that can be closed and opened again, and knows its connections. */
export class LoopbackListener {
  readonly #createServer: () => Server;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port: number;
  #connections = 0;

  /** @param port 0 for any free one; it stays the same from then on. */
  constructor(createServer: () => Server, port: number) {
    this.#createServer = createServer;
    this.#port = port;
  }

  get port(): number {
    return this.#port;
  }

  /** Connections accepted so far. */
  get connections(): number {
    return this.#connections;
  }

  /** Opens the port; nothing to do when it is open. */
  async open(): Promise<void> {
    if (this.#server !== null) return;
    const server = this.#createServer();
    this.#server = server;
    server.on('connection', (socket) => {
      this.#connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, HOST, resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Resets every connection; returns how many there were. */
  drop(): number {
    const count = this.#sockets.size;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    return count;
  }

  /** Closes the port, so that connecting is refused, and resets every connection. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    this.drop();
    await closed;
  }
}
