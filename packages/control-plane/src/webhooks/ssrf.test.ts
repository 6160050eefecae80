import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isPublicAddress } from './public-address.js';
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

/** Names as an attacker's name server answers them. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'loopback.example': ['127.0.0.1'],
  'loopback6.example': ['::1'],
  'mapped.example': ['::ffff:127.0.0.1'],
  'any.example': ['0.0.0.0'],
  'metadata.example': ['169.254.169.254'],
  'intranet.example': ['10.0.0.7'],
  'mixed.example': ['93.184.215.14', '127.0.0.1'],
  'mixed-first.example': ['127.0.0.1', '93.184.215.14'],
  'mixed6.example': ['2606:2800:21f:cb07:6820:80da:af6b:8b2c', '::1'],
  'empty.example': [],
};
const resolve = async (hostname: string) => NAMES[hostname.replace(/\.$/, '')] ?? ['127.0.0.1'];

const HOSTS = [
  // Loopback, in every way in which an address can be written.
  ...[
    '127.0.0.1',
    '127.0.0.1.',
    '127.1',
    '127.0.1',
    '127.255.255.254',
    '2130706433',
    '0x7f000001',
    '017700000001',
  ],
  ...[
    '0x7f.0.0.1',
    '0177.0.0.1',
    '0x7f.1',
    '0177.1',
    '127.0x1',
    '00000177.0.0.1',
    '%31%32%37.0.0.1',
    '127.0.0.1%2e',
  ],
  ...['１２７.０.０.１', '①②⑦.⓪.⓪.①', '127。0。0。1', '127．0．0．1'],
  ...['[::1]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[0:0:0:0:0:ffff:7f00:0001]'],
  ...[
    '[::127.0.0.1]',
    '[64:ff9b::127.0.0.1]',
    '[64:ff9b:1::7f00:1]',
    '[2002:7f00:1::]',
    '[2001:0:0:0:0:0:80ff:fffe]',
  ],
  ...['localhost', 'LOCALHOST', 'localhost.', 'anything.localhost', 'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ'],
  // This machine and the networks around it.
  ...[
    '0.0.0.0',
    '0',
    '0.0.0.1',
    '[::]',
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
  ],
  ...[
    '169.254.169.254',
    '0xa9fea9fe',
    '2852039166',
    '[::ffff:169.254.169.254]',
    '[fe80::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
  ],
  ...[
    '100.64.0.1',
    '198.18.0.1',
    '192.0.0.1',
    '192.0.2.1',
    '203.0.113.1',
    '198.51.100.1',
    '224.0.0.1',
    '255.255.255.255',
  ],
  ...['[ff02::1]', '[2001:db8::1]', '[::ffff:10.0.0.1]', '[::ffff:0:127.0.0.1]'],
  // Names.
  ...Object.keys(NAMES),
  ...['loopback.example.', 'unheard-of.example'],
];

it('S3: no URL of the corpus makes a connection', async () => {
  const urls = [
    ...HOSTS.flatMap((host) => [`http://${host}:${port}/hook`, `https://${host}:${port}/hook`]),
    `http://user@127.0.0.1:${port}/`,
    `http://example.com@127.0.0.1:${port}/`,
    `http://example.com:80@127.0.0.1:${port}/`,
    `http://127.0.0.1:${port}#@example.com/`,
    `http://127.0.0.1:${port}\\@example.com/`,
    `http:127.0.0.1:${port}`,
    `http:\\\\127.0.0.1:${port}`,
    `http:///127.0.0.1:${port}`,
    ` http://127.0.0.1:${port}`,
    `ht\ntp://127.0.0.1:${port}`,
    'file:///etc/passwd',
    `ftp://127.0.0.1:${port}/`,
    `gopher://127.0.0.1:${port}/_POST`,
    `ws://127.0.0.1:${port}/`,
    'data:text/plain,hello',
    `//127.0.0.1:${port}/`,
    '',
  ];
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
