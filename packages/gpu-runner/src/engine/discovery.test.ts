import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { discoverEngine } from './discovery.js';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function engine(status: number, body: string, headers: Record<string, string> = {}): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status, headers).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const discover = (url: string, wanted: readonly string[] = []) =>
  discoverEngine({ url, apiKey: null, wanted, signal: new AbortController().signal });

test.each([
  ['null', 200, 'null'],
  ['nothing', 200, ''],
  ['an empty list', 200, '{"data":[]}'],
  ['data that is null', 200, '{"object":"list","data":null}'],
  ['a wildcard', 200, '{"data":[{"id":"*"}]}'],
  ['a wildcard of a provider', 200, '{"data":[{"id":"org/*"}]}'],
  ['no such route', 404, '{"detail":"Not Found"}'],
  ['a page', 200, '<html></html>'],
  ['the model itself, without an envelope', 200, '["org/m"]'],
])('a model that is named needs no list: %s', async (_name, status, body) => {
  expect((await discover(await engine(status, body), ['org/m'])).models).toEqual(['org/m']);
});

test.each([
  ["OpenAI's list", '{"object":"list","data":[{"id":"a"},{"id":"b"}]}'],
  ['a bare array', '[{"id":"a"},{"id":"b"}]'],
  ['names', '["a","b"]'],
  ["Ollama's list", '{"models":[{"name":"a"},{"model":"b"}]}'],
  ['odd entries among it', '{"data":[null,{"id":"a"},7,{"id":""},{"id":"b"},{"id":"*"},{"id":"a"}]}'],
])('lists of all forms are read: %s', async (_name, body) => {
  expect((await discover(await engine(200, body))).models).toEqual(['a', 'b']);
});

test.each([
  ['no list', 200, 'null', 'not_an_engine', '--model'],
  ['an empty list', 200, '{"data":[]}', 'no_models', '--model'],
  ['wildcards only', 200, '{"data":[{"id":"*"}]}', 'no_models', '--model'],
  ['a server that starts', 503, '', 'engine_unavailable', 'not ready'],
  ['a key that is missing', 401, '', 'unauthorized', 'BATCH_INFER_ENGINE_API_KEY'],
])('without a name it says what is missing: %s', async (_name, status, body, code, words) => {
  const failure = await discover(await engine(status, body)).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code, message: expect.stringContaining(words) });
});

test('a redirect is followed as little as for requests, and said', async () => {
  const url = await engine(307, '', { location: 'https://elsewhere.example/v1/models?token=1' });
  await expect(discover(url)).rejects.toThrow(
    /redirected to https:\/\/elsewhere\.example\/v1\/models, which requests/,
  );
});
