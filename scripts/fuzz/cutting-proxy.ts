import { createServer, request as httpRequest, type Server } from 'node:http';

/**
 * Stands before a server whose answers may have no end, or begin only when there is work: each exchange is over after
 * `cutAfterMs`. What was answered until then goes through; where that is nothing, the proxy says 204 itself.
 */
export async function startCuttingProxy(
  target: string,
  cutAfterMs: number,
): Promise<{ url: string; close(): void }> {
  const server: Server = createServer((incoming, outgoing) => {
    const { method, headers, url = '/' } = incoming;
    const upstream = httpRequest(new URL(url, target), { method, headers });
    const end = (status: number): void => {
      clearTimeout(timer);
      if (!outgoing.headersSent) outgoing.writeHead(status);
      outgoing.end();
      upstream.destroy();
    };
    const timer = setTimeout(() => end(204), cutAfterMs);
    upstream.on('response', (answer) => {
      const { 'content-length': _, ...rest } = answer.headers;
      outgoing.writeHead(answer.statusCode ?? 502, rest);
      answer.on('data', (chunk: Buffer) => outgoing.write(chunk));
      answer.once('end', () => end(200));
    });
    // A refused body or a cut connection is no answer of the server's: 5xx must be its own.
    upstream.on('error', () => end(204));
    outgoing.once('close', () => end(204));
    incoming.pipe(upstream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
