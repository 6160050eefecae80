import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isPublicAddress } from './public-address.js';
import { literalUrls, NAMES, namedUrls } from './ssrf-fixture.js';
import { TargetGuard } from './target-guard.js';
import { WebhookSender } from './webhook-sender.js';

/** S3: whatever is written into a webhook's URL, nothing reaches this machine or the network around it. */

const canaries: Server[] = [];
let port = 0;
let connections = 0;

const listen = (host: string, wanted: number) =>
  new Promise<number>((resolve, reject) => {
    const canary = createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    canary.once('error', reject);
    canary.listen(wanted, host, () => {
      canaries.push(canary);
      const address = canary.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });

beforeAll(async () => {
  port = await listen('0.0.0.0', 0);
  // Where this machine has IPv6.
  await listen('::1', port).catch(() => 0);
});

afterAll(() => {
  for (const canary of canaries) canary.close();
});

const resolve = async (hostname: string) => NAMES[hostname.replace(/\.$/, '')] ?? ['127.0.0.1'];

it('S3: no URL of the corpus makes a connection', async () => {
  const urls = [...literalUrls(port), ...namedUrls(port)];
  expect(urls.length).toBeGreaterThan(60);
  const sender = new WebhookSender({ guard: new TargetGuard({ allowHosts: [], resolve }), timeoutMs: 2_000 });
  for (const url of urls) {
    const outcome = await sender.send({ url, headers: {}, body: '{}' });
    expect([url, outcome.kind]).toEqual([url, 'forbidden']);
  }
  expect(connections).toBe(0);
});

it('S3: a name is resolved once, and connected to as it was judged', async () => {
  let asked = 0;
  const answers = [['93.184.215.14'], ['127.0.0.1']];
  const guard = new TargetGuard({ allowHosts: [], resolve: async () => answers[asked++] ?? [] });
  expect(await guard.check('https://rebinding.example/hook')).toMatchObject({ address: '93.184.215.14' });
  expect(asked).toBe(1);
});

it.each([22, 25, 1023, 5432, 6379, 9092, 27017])(
  'S3: port %d, at which other services listen, is refused',
  async (service) => {
    const guard = new TargetGuard({ allowHosts: [`hooks.example:${service}`] });
    expect(() => guard.checkUrl(`http://93.184.215.14:${service}/`)).toThrow('ports');
    expect(guard.checkUrl(`http://hooks.example:${service}/`).port).toBe(String(service));
  },
);

it('a name server that is silent is part of the time for the call', async () => {
  const guard = new TargetGuard({ allowHosts: [], resolve: () => new Promise(() => undefined) });
  const sender = new WebhookSender({ guard, timeoutMs: 20 });
  expect(await sender.send({ url: 'https://tarpit.example/', headers: {}, body: '{}' })).toMatchObject({
    kind: 'failed',
    isTimeout: true,
  });
});

it('would be seen by the canary', async () => {
  const before = connections;
  const sender = new WebhookSender({ guard: new TargetGuard({ allowHosts: [`127.0.0.1:${port}`] }) });
  const outcome = await sender.send({ url: `http://127.0.0.1:${port}/`, headers: {}, body: '{}' });
  expect(outcome.kind).toBe('failed');
  expect(connections).toBe(before + 1);
});

it('allows what the operator allows, and nothing beside it', async () => {
  const guard = new TargetGuard({ allowHosts: ['hooks.internal', '127.0.0.1:9000'], resolve });
  expect((await guard.check('http://hooks.internal/x')).address).toBe('127.0.0.1');
  expect((await guard.check('http://127.0.0.1:9000/x')).address).toBe('127.0.0.1');
  await expect(guard.check('http://127.0.0.1:9001/x')).rejects.toThrow('not public');
  await expect(guard.check('http://other.internal/x')).rejects.toThrow('not public');
});

it.each([
  '8.8.8.8',
  '1.1.1.1',
  '172.32.0.1',
  '192.169.0.1',
  '100.128.0.1',
  '2606:4700:4700::1111',
  '2a00:1450::1',
])('lets %s through', (address) => expect(isPublicAddress(address)).toBe(true));
