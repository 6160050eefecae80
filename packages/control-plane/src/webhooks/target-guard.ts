import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { DomainError } from '../errors.js';
import { isPublicAddress } from './public-address.js';

/** All addresses of a name, as connecting would see them. */
export type ResolveName = (hostname: string) => Promise<readonly string[]>;

/** Where to connect: to this address and no other, whatever the name is resolved to a moment later. */
export interface CheckedTarget {
  readonly url: URL;
  readonly address: string;
}

/** The target may not be called. */
export class ForbiddenTargetError extends Error {
  override readonly name = 'ForbiddenTargetError';
}

/**
 * Keeps webhooks from reaching what only this machine may reach (server-side request forgery). A name is resolved here,
 * once; all of its addresses are judged, and the connection then goes to one that was. An address written in the URL is
 * judged itself: whatever way it is written, `URL` has made it a plain one.
 */
export class TargetGuard {
  readonly #allowed: ReadonlySet<string>;
  readonly #resolve: ResolveName;

  /** @param options.allowHosts names or addresses, with or without a port, that may be private */
  constructor(options: { allowHosts: readonly string[]; resolve?: ResolveName }) {
    this.#allowed = new Set(options.allowHosts.map((host) => host.toLowerCase()));
    this.#resolve = options.resolve ?? resolveAll;
  }

  /** What can be said without asking for the name's addresses. @throws ForbiddenTargetError */
  checkUrl(text: string): URL {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || !/^https?:$/.test(url.protocol)) {
      throw new ForbiddenTargetError('Webhooks go to http:// and https:// URLs only.');
    }
    if (url.username !== '' || url.password !== '') {
      throw new ForbiddenTargetError('The URL of a webhook must not hold a user or a password.');
    }
    const host = hostOf(url);
    if (this.#isAllowed(url)) return url;
    if (!isWebPort(portOf(url))) {
      throw new ForbiddenTargetError(
        'Webhooks go to the ports 80, 443 and those from 1024 on that are not known for another service. The operator can allow it: BATCH_INFER_WEBHOOK_ALLOW_HOSTS with host:port.',
      );
    }
    if (isIP(host) !== 0 && !isPublicAddress(host)) throw notPublic();
    // Names that never leave the machine, whatever a resolver says.
    if (/(?:^|\.)localhost$/i.test(host.replace(/\.$/, ''))) throw notPublic();
    return url;
  }

  /**
   * Refuses a webhook that is about to be kept. Names are judged when it is called: what they lead to changes.
   * @param param the field that holds the URL
   * @throws DomainError `invalid_parameter`
   */
  assertUrl(text: string, param: string): void {
    try {
      this.checkUrl(text);
    } catch (error) {
      if (!(error instanceof ForbiddenTargetError)) throw error;
      throw new DomainError('invalid_parameter', `${param}: ${error.message}`, { param });
    }
  }

  /** @throws ForbiddenTargetError; the resolver's error */
  async check(text: string): Promise<CheckedTarget> {
    const url = this.checkUrl(text);
    const host = hostOf(url);
    const addresses = isIP(host) === 0 ? await this.#resolve(host) : [host];
    const [address] = addresses;
    if (address === undefined) throw new ForbiddenTargetError('The name of the webhook has no address.');
    if (!this.#isAllowed(url) && !addresses.every(isPublicAddress)) throw notPublic();
    return { url, address };
  }

  #isAllowed(url: URL): boolean {
    return this.#allowed.has(url.hostname) || this.#allowed.has(`${url.hostname}:${portOf(url)}`);
  }
}

/** From 1024 on, ports at which databases, queues and machines' own agents listen. */
const SERVICE_PORTS: ReadonlySet<number> = new Set([
  ...[
    1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5433, 5672, 5900, 5984, 6379,
    6380, 6443,
  ],
  ...[7000, 7001, 9042, 9092, 9093, 9094, 9200, 9300, 10250, 10255, 11211, 15672, 26379, 27017, 27018, 50070],
]);

const isWebPort = (port: number): boolean =>
  port === 80 || port === 443 || (port >= 1024 && !SERVICE_PORTS.has(port));

const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/g, '');

export const portOf = ({ port, protocol }: URL): number =>
  port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);

const notPublic = (): ForbiddenTargetError =>
  new ForbiddenTargetError(
    'The webhook leads to an address that is not public. The operator can allow it: BATCH_INFER_WEBHOOK_ALLOW_HOSTS.',
  );

async function resolveAll(hostname: string): Promise<string[]> {
  const found = await lookup(hostname, { all: true, order: 'verbatim' });
  return found.map(({ address }) => address);
}
