import { createServer, type ServerResponse } from 'node:http';

/** One call of a webhook, as it came. */
export interface WebhookCall {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly event: { readonly id: string; readonly type: string; readonly data: { readonly id: string } };
}

export interface WebhookReceiver {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly calls: readonly WebhookCall[];
  close(): Promise<void>;
}

/** Receives webhooks on loopback; `answer` decides what each call is told, by default 204. */
export async function startWebhookReceiver(
  answer: (response: ServerResponse, call: WebhookCall) => void = (response) => response.writeHead(204).end(),
): Promise<WebhookReceiver> {
  const calls: WebhookCall[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const call = { path: request.url ?? '', headers, body, event: JSON.parse(body) };
    calls.push(call);
    answer(response, call);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
