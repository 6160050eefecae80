import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Settings } from '../settings/settings.js';
import { Backoff } from './backoff.js';
import { chooseEngine } from './choose-engine.js';
import { findLocalEngines, listEngineModels } from './engines.js';
import { formatLogLine } from './log-line.js';
import { parseReadyLine, readyLine } from './ready-line.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** A server with these documents by path; 404 for the others. */
async function serving(documents: Record<string, unknown>): Promise<number> {
  const server = createServer((request, response) => {
    const document = documents[request.url ?? ''];
    response.writeHead(document === undefined ? 404 : 200).end(JSON.stringify(document ?? {}));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const models = { object: 'list', data: [{ id: 'm1' }, { id: 'm2' }] };
const none = new Settings(new Map());
const given = (flag: string, value: string | boolean) =>
  new Settings(new Map([[flag, { value, source: 'flag' }]]));
const context = (said: string[] = []) => ({
  entry: '/nonexistent/bin/x.js',
  say: (text: string) => void said.push(text),
});

describe('looking for engines', () => {
  it('finds what lists models, and takes no batch-infer server for one', async () => {
    const engine = await serving({ '/v1/models': models });
    const ours = await serving({ '/v1/models': models, '/openapi.json': { paths: { '/v1/jobs': {} } } });
    const empty = await serving({ '/v1/models': { data: [] } });
    const found = await findLocalEngines([{ port: engine }, { port: ours }, { port: empty }, { port: 9 }]);
    expect(found).toEqual([{ url: `http://127.0.0.1:${engine}`, models: ['m1', 'm2'] }]);
  });

  it('accepts an engine URL with and without /v1', async () => {
    const port = await serving({ '/v1/models': models });
    expect(await listEngineModels(`http://127.0.0.1:${port}/v1/`)).toEqual(['m1', 'm2']);
    expect(await listEngineModels('http://127.0.0.1:9')).toBeNull();
  });
});

describe('choosing an engine', () => {
  const found = async () => [
    { url: 'http://a', models: ['m1'] },
    { url: 'http://b', models: ['m2'] },
  ];

  it('takes the one that was given, without looking', async () => {
    const never = () => Promise.reject(new Error('looked'));
    expect(await chooseEngine(given('engine-url', 'http://x'), context(), never)).toEqual({ variables: {} });
    expect(await chooseEngine(given('launch', 'vllm serve m'), context(), never)).toEqual({ variables: {} });
    expect(await chooseEngine(given('preset', 'vllm-cpu'), context(), never)).toEqual({ variables: {} });
  });

  it('says what it found on this machine and takes all of it', async () => {
    const said: string[] = [];
    const choice = await chooseEngine(none, context(said), found);
    expect(choice.variables).toEqual({ BATCH_INFER_ENGINE_URL: 'http://a,http://b' });
    expect(said).toEqual(['found an engine at http://a with m1', 'found an engine at http://b with m2']);
  });

  it('without any is exit 9 with where it looked and what could be done', async () => {
    const error = await chooseEngine(none, context(), async () => []).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      exitCode: 9,
      message: expect.stringContaining('8000 (vLLM), 11434 (Ollama), 8080 (llama-server), 1234 (LM Studio)'),
      next: expect.stringMatching(/--engine-url.*--launch.*--demo-model/s),
    });
  });

  it('the demo model is in the repository only', async () => {
    await expect(chooseEngine(given('demo-model', true), context())).rejects.toMatchObject({ exitCode: 2 });
  });
});

describe('the parts', () => {
  it('say that they are ready in a line that others can read', () => {
    expect(readyLine('serve', 'http://127.0.0.1:8080')).toBe(
      'batch-infer serve ready http://127.0.0.1:8080\n',
    );
    expect(parseReadyLine('runner', 'batch-infer runner ready a,b → http://x')).toBe('a,b → http://x');
    expect(parseReadyLine('runner', 'batch-infer serve ready http://x')).toBeNull();
  });

  it('come back after 0.5 to 8 seconds when they crash, and at once again after a long healthy time', () => {
    const backoff = new Backoff();
    expect([1, 2, 3, 4, 5, 6].map(() => backoff.nextDelayMs(100))).toEqual([
      500, 1000, 2000, 4000, 8000, 8000,
    ]);
    expect(backoff.nextDelayMs(60_000)).toBe(500);
  });

  it('log JSON, which people read as a sentence', () => {
    expect(formatLogLine('{"level":40,"msg":"no session"}')).toBe('warn: no session');
    expect(formatLogLine('{"level":"error","msg":"it broke"}')).toBe('error: it broke');
    expect(formatLogLine('plain')).toBe('plain');
    expect(formatLogLine('{"half')).toBe('{"half');
  });
});
