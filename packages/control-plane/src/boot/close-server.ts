import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** A connection that was just made may still bring its first request. */
const FIRST_REQUEST_MS = 250;

/** Requests that run when the server stops may take this long to end. */
const DRAIN_MS = 10_000;

/**
 * Prepares a server to be closed within a bounded time. Node waits for connections that never brought a request (clients
 * and browsers open some in advance) as it does for running ones, so they are counted here.
 *
 * The returned function runs `close`, during which running requests end by themselves, up to a limit.
 */
export function boundedClose(server: Server): (close: () => Promise<void>) => Promise<void> {
  const unused = new Set<Socket>();
  server.on('connection', (socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  server.on('request', (request) => unused.delete(request.socket));
  return async (close) => {
    const timers = [
      setTimeout(() => {
        for (const socket of unused) socket.destroy();
      }, FIRST_REQUEST_MS),
      setTimeout(() => server.closeAllConnections(), DRAIN_MS),
    ];
    try {
      await close();
    } finally {
      for (const timer of timers) clearTimeout(timer);
    }
  };
}
