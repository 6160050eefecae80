import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pollOffersRequest } from '@batch-infer/contracts/runner-protocol';
import type { DirectHub } from '@batch-infer/transport/direct';

/** A bare HTTP server with nothing but the long poll of the direct transport, for tests of hub and subscriber. */
export async function startDirectPollServer(
  hub: DirectHub,
): Promise<{ url: string; polls: () => number; close: () => Promise<void> }> {
  let polls = 0;
  const server = createServer(async (request, response) => {
    polls += 1;
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const body: Buffer[] = [];
    for await (const chunk of request) body.push(chunk);
    const poll = pollOffersRequest.parse(JSON.parse(Buffer.concat(body).toString()));
    const offers = await hub.poll({
      runnerId: poll.runner_id,
      models: poll.models,
      max: poll.max,
      waitMs: poll.wait_ms,
      signal: gone.signal,
    });
    if (gone.signal.aborted) hub.giveBack(offers);
    else response.setHeader('content-type', 'application/json').end(JSON.stringify({ offers }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    polls: () => polls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
