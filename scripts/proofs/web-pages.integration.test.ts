import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Chromium, chromiumFile } from './chromium.js';
import { MODEL, ProofStack } from './harness.js';

const modulesFolder = fileURLToPath(new URL('../../node_modules/', import.meta.url));
const PAGE = '<!doctype html><title>page</title>';

/** What a page does to a server that it hopes to find; each line of the answer is one attempt. */
const attack = (server: string) => `(async () => {
  const form = new FormData();
  form.append('purpose', 'batch');
  form.append('file', new Blob(['{"custom_id":"a","body":{"messages":[]}}']), 'a.jsonl');
  const json = { 'content-type': 'application/json' };
  const job = JSON.stringify({ model: 'm', items: [{ body: { messages: [{ role: 'user', content: 'x' }] } }] });
  const attempts = {
    'read who it is': ['/v1/whoami', {}],
    'read jobs': ['/v1/jobs', {}],
    'read jobs blindly': ['/v1/jobs', { mode: 'no-cors' }],
    'read metrics': ['/metrics', {}],
    'make a key blindly': ['/v1/keys', { method: 'POST', mode: 'no-cors' }],
    'make a key': ['/v1/keys', { method: 'POST', headers: json, body: '{"scopes":["admin"]}' }],
    'upload blindly': ['/v1/files', { method: 'POST', mode: 'no-cors', body: form }],
    'upload': ['/v1/files', { method: 'POST', body: form }],
    'submit blindly': ['/v1/jobs', { method: 'POST', mode: 'no-cors', body: job }],
    'submit': ['/v1/jobs', { method: 'POST', headers: json, body: job }],
  };
  const ends = {};
  for (const [name, [path, init]] of Object.entries(attempts)) {
    ends[name] = await fetch(${JSON.stringify(server)} + path, init).then(
      async (answer) => (answer.type === 'opaque' ? 'opaque' : answer.status),
      () => 'blocked',
    );
  }
  return ends;
})()`;

/** OpenAI's SDK, as a page loads it: a batch from upload to output, a plain request and a streamed one. */
const useSdk = (server: string) => `(async () => {
  const { default: OpenAI } = await import('/openai/index.mjs');
  const openai = new OpenAI({ baseURL: ${JSON.stringify(server)} + '/v1', apiKey: 'unused', dangerouslyAllowBrowser: true });
  const body = { model: ${JSON.stringify(MODEL)}, messages: [{ role: 'user', content: 'hello' }] };
  const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body };
  const file = await openai.files.create({ file: new File([JSON.stringify(line)], 'in.jsonl'), purpose: 'batch' });
  let batch = await openai.batches.create({ input_file_id: file.id, endpoint: line.url, completion_window: '24h' });
  while (!['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    batch = await openai.batches.retrieve(batch.id);
  }
  const output = await (await openai.files.content(batch.output_file_id)).text();
  const plain = await openai.chat.completions.create(body);
  let streamed = '';
  for await (const chunk of await openai.chat.completions.create({ ...body, stream: true }))
    streamed += chunk.choices[0]?.delta?.content ?? '';
  const refused = await openai.batches.retrieve('batch_nobody').catch((error) => error);
  return {
    status: batch.status,
    customId: JSON.parse(output).custom_id,
    plain: plain.choices[0].message.content.length > 0,
    plainRequestId: plain._request_id,
    streamed: streamed.length > 0,
    refused: [refused.status, refused.requestID],
  };
})()`;

describe.skipIf(chromiumFile === null)('web pages in a real browser', () => {
  const stack = new ProofStack();
  const pages: Server[] = [];
  let chromium: Chromium;
  let pagePort: number;

  beforeAll(async () => {
    const engine = await stack.engine({ serviceTimeMs: 5 });
    pagePort = await servePages(pages);
    await stack.serve({ BATCH_INFER_CORS_ORIGIN: `http://app.example:${pagePort}` });
    await stack.runner(engine);
    chromium = await Chromium.start({ file: chromiumFile ?? '', hosts: '*.example' });
  });

  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await stack.close();
    for (const server of pages) server.close();
  });

  const untouched = async () => {
    const count = async (path: string) => {
      const { data } = (await (await fetch(`${stack.url}${path}`)).json()) as { data: unknown[] };
      return data.length;
    };
    // Answered without a key: nobody has made one.
    return { keys: await count('/v1/keys'), files: await count('/v1/files'), jobs: await count('/v1/jobs') };
  };

  /** How many requests the server itself has refused as those of a page; a browser may keep others from it. */
  const refused = async (reason: 'host' | 'origin') => {
    const metrics = await (await fetch(`${stack.url}/metrics`)).text();
    const name = `batch_infer_requests_refused_total{reason="${reason}"}`;
    return Number(
      metrics
        .split('\n')
        .find((line) => line.startsWith(name))
        ?.slice(name.length),
    );
  };

  /** Every attempt came to the server, and ended like this in the page. */
  const expectRefused = async (url: string, script: string, reason: 'host' | 'origin', end: unknown) => {
    const before = await refused(reason);
    const ends = await chromium.run(url, script, reason === 'host' ? PAGE : undefined);
    const names = Object.keys(ends ?? {});
    expect(names).toHaveLength(10);
    expect(ends).toEqual(Object.fromEntries(names.map((name) => [name, end])));
    // A browser sends a request again that was answered with 421.
    expect(await refused(reason)).toBeGreaterThanOrEqual(before + names.length);
    expect(await untouched()).toEqual({ keys: 0, files: 0, jobs: 0 });
  };

  test.each([
    ['another host', 'evil.example'],
    ['another port of this machine', '127.0.0.1'],
    ['another name of this machine', 'localhost'],
  ])('of %s get nothing and change nothing', async (_, host) => {
    await expectRefused(`http://${host}:${pagePort}/`, attack(stack.url), 'origin', 'blocked');
  });

  test('whose name was rebound to this machine get nothing and change nothing', async () => {
    const origin = `http://rebind.example:${new URL(stack.url).port}`;
    await expectRefused(`${origin}/page.html`, attack(''), 'host', 421);
  });

  test('of an origin of --cors-origin use OpenAI’s SDK, unmodified', async () => {
    const used = await chromium.run(`http://app.example:${pagePort}/`, useSdk(stack.url));
    expect(used).toEqual({
      status: 'completed',
      customId: 'a',
      plain: true,
      plainRequestId: expect.stringMatching(/^req_/),
      streamed: true,
      refused: [404, expect.stringMatching(/^req_/)],
    });
  });
});

/** A page at any address, and OpenAI's SDK beside it; the port. */
async function servePages(servers: Server[]): Promise<number> {
  const server = createServer(async ({ url = '/' }, response) => {
    if (!url.startsWith('/openai/')) return response.setHeader('content-type', 'text/html').end(PAGE);
    try {
      const source = await readFile(`${modulesFolder}${url.slice(1)}`);
      return response.setHeader('content-type', 'text/javascript').end(source);
    } catch {
      response.statusCode = 404;
      return response.end();
    }
  });
  servers.push(server);
  // Both families: "localhost" is either.
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}
