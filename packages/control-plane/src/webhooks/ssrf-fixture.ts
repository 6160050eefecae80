/** The corpus of S3: what a webhook's URL must not lead to, in every way in which it can be written. */

/** Names as an attacker's name server answers them. */
export const NAMES: Readonly<Record<string, readonly string[]>> = {
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

/** Addresses and names that say by themselves that they are not public. */
const LITERALS = [
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
    '168.63.129.16',
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
];

/** What must be refused as it is written, without asking for any name's address. */
export const literalUrls = (port: number): string[] => [
  ...LITERALS.flatMap((host) => [`http://${host}:${port}/hook`, `https://${host}:${port}/hook`]),
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

/** What only looking at the addresses of a name can refuse. */
export const namedUrls = (port: number): string[] =>
  [...Object.keys(NAMES), 'loopback.example.', 'unheard-of.example'].flatMap((host) => [
    `http://${host}:${port}/hook`,
    `https://${host}:${port}/hook`,
  ]);
