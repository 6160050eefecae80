import { BlockList, isIP } from 'node:net';

/** Scheme, host and port, and no more than that: no user, path or wildcard. */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*,\\]+\/?$/i;

/**
 * An origin as browsers write it: lower case, without a default port, also of apps and extensions
 * (`chrome-extension://…`). `null` for everything else, the word "null" of pages without an origin included.
 */
export function parseOrigin(text: string): string | null {
  if (!ORIGIN.test(text) || !URL.canParse(text)) return null;
  const { origin, protocol, host } = new URL(text);
  if (host === '') return null;
  return origin === 'null' ? `${protocol}//${host.toLowerCase()}` : origin;
}

/** A name or an address in brackets, and perhaps a port. */
const AUTHORITY = /^(\[[0-9a-f:.]+(?:%[\w.~-]+)?\]|[a-z0-9._-]+)(:\d{0,5})?$/i;

/** Host and port of a `Host` header, with addresses and names in their usual form; `null` for what is none. */
export function parseAuthority(text: string): { readonly hostname: string; readonly host: string } | null {
  const [, name, port = ''] = AUTHORITY.exec(text) ?? [];
  if (name === undefined) return null;
  // The zone of an IPv6 address says only through which interface it is reached.
  const address = `http://${name.replace(/%.*\]$/, ']')}${port}`;
  if (!URL.canParse(address)) return null;
  const { hostname, port: givenPort } = new URL(address);
  const plain = hostname.replace(/\.$/, '');
  return { hostname: plain, host: givenPort === '' ? plain : `${plain}:${givenPort}` };
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether a host, as `parseAuthority` gives it, is this machine whatever a name server says. */
export function isLoopbackHost(hostname: string): boolean {
  if (hostname === 'localhost') return true;
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  const version = isIP(address);
  return version !== 0 && LOOPBACK.check(address, version === 6 ? 'ipv6' : 'ipv4');
}
