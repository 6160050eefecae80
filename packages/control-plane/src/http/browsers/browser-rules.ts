import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ControlPlaneConfig } from '../../config.js';
import { DomainError } from '../../errors.js';
import { allowOrigin, answerPreflight, isPreflight } from './cors.js';
import { isLoopbackHost, parseAuthority, parseOrigin } from './origins.js';

export interface BrowserRules {
  readonly config: Pick<ControlPlaneConfig, 'host' | 'publicUrl' | 'corsOrigins'>;
  /** Whether the server asks nobody for a key. */
  readonly isOpen: () => Promise<boolean>;
  readonly onRefused?: (reason: 'host' | 'origin') => void;
}

/**
 * What web pages may do here, judged before anything else of a request.
 *
 * While there are no API keys, reaching the server is all it takes to own it, and every page in a browser of this machine
 * reaches it. So it answers only to names that no page can have (`Host`: a page whose name was rebound to 127.0.0.1 is of
 * our own origin to the browser), and only pages of its own origin or of `--cors-origin` (`Origin`, `Sec-Fetch-Site`).
 * Programs send neither of the last two. With keys a page has to know one: `--cors-origin` then only says who may read.
 */
export function registerBrowserRules(fastify: FastifyInstance, rules: BrowserRules): void {
  const { corsOrigins } = rules.config;
  const judge = judgeOf(rules.config);
  fastify.addHook('onRequest', async (request, reply) => {
    const origin = parseOrigin(request.headers.origin ?? '');
    const isListed = origin !== null && corsOrigins.includes(origin);
    // Caches must not give the answer for one origin to another.
    if (corsOrigins.length > 0) reply.header('vary', 'Origin');
    if (isListed) allowOrigin(reply, origin);
    const refusal = judge(request, isListed);
    if (refusal !== null && (await rules.isOpen())) {
      rules.onRefused?.(refusal.code === 'origin_not_allowed' ? 'origin' : 'host');
      throw refusal;
    }
    if (isListed && isPreflight(request)) return answerPreflight(request, reply);
    return undefined;
  });
}

type Judge = (request: FastifyRequest, isListed: boolean) => DomainError | null;

/** Says why a server without keys must not answer. */
function judgeOf({ host, publicUrl }: BrowserRules['config']): Judge {
  const publicOrigin = publicUrl === null ? null : new URL(publicUrl);
  const bound = parseAuthority(host.includes(':') ? `[${host}]` : host)?.hostname;
  const isOurs = (hostname: string) =>
    isLoopbackHost(hostname) || hostname === bound || hostname === publicOrigin?.hostname.replace(/\.$/, '');
  return (request, isListed) => {
    const authorities = authoritiesOf(request).map((text) => ({ text, parsed: parseAuthority(text) }));
    const foreign = authorities.find(({ parsed }) => parsed === null || !isOurs(parsed.hostname));
    if (foreign !== undefined) return misdirected(foreign.text);
    if (isListed) return null;
    const { origin, 'sec-fetch-site': site } = request.headers;
    const ours = [
      publicOrigin?.origin,
      ...authorities.map(({ parsed }) => `${request.protocol}://${parsed?.host}`),
    ];
    if (origin !== undefined && !ours.some((each) => each !== undefined && isSameOrigin(origin, each)))
      return originNotAllowed(origin);
    // Sent by browsers alone, also where they send no Origin: for an image, a script, a link.
    return site === undefined || site === 'same-origin' || site === 'none' ? null : originNotAllowed(null);
  };
}

const isSameOrigin = (origin: string, ours: string): boolean => parseOrigin(origin) === parseOrigin(ours);

/**
 * Every authority that a request names: its `Host` headers, and that of a target written as a whole URL. None is named by
 * some programs that speak HTTP/1.0, and by no browser.
 */
function authoritiesOf({ raw, url }: FastifyRequest): string[] {
  const { rawHeaders } = raw;
  const named = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'host');
  if (url.startsWith('/')) return named;
  const target = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1];
  return target === undefined ? named : [...named, target];
}

function misdirected(authority: string): DomainError {
  return new DomainError(
    'misdirected_request',
    `This server has no API keys, so it answers only to localhost, 127.0.0.1, [::1] and the host of --public-url, not to ${JSON.stringify(authority.slice(0, 80))}. Use one of these addresses, start the server with --public-url (BATCH_INFER_PUBLIC_URL) set to the address that clients use, or make an API key.`,
    { param: 'host' },
  );
}

function originNotAllowed(origin: string | null): DomainError {
  const page = origin === null ? '' : `, such as ${JSON.stringify(origin.slice(0, 80))}`;
  return new DomainError(
    'origin_not_allowed',
    `This server has no API keys, so it answers programs, and no web pages of other origins${page}. To let the pages of an origin in, start the server with --cors-origin (BATCH_INFER_CORS_ORIGIN) and that origin, such as http://localhost:3000.`,
    { param: origin === null ? 'sec-fetch-site' : 'origin' },
  );
}
