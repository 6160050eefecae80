import { DomainError } from '../errors.js';
import { API_ROUTES } from './openapi-routes.js';

/** The answer to a request for which there is no route. */
export interface UnknownRoute {
  readonly error: DomainError;
  /** Methods that the path has, for the header `Allow`; `null` when it has none. */
  readonly allow: string | null;
}

interface Pattern {
  readonly method: string;
  readonly path: RegExp;
}

const PATTERNS: readonly Pattern[] = API_ROUTES.map(({ method, path }) => ({
  method: method.toUpperCase(),
  // Names of models may hold slashes.
  path: new RegExp(`^${path.replaceAll(/\{\w+\}/g, path.startsWith('/v1/models/') ? '.+' : '[^/]+')}/?$`),
}));

/** Says whether it is the method that is wrong, or the client's base URL, or the path. */
export function unknownRoute(method: string, url: string): UnknownRoute {
  const path = url.split('?', 1)[0] ?? '';
  const methods = methodsOf(path);
  // A process without the role of the api has none of these routes, whatever the method.
  const isDescribed = methods.includes(method.toUpperCase().replace(/^HEAD$/, 'GET'));
  if (methods.length > 0 && !isDescribed) {
    const allow = methods.flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name])).join(', ');
    const shown = method.slice(0, 20);
    return {
      error: new DomainError('method_not_allowed', `${shown} is not allowed here. Allowed: ${allow}.`),
      allow,
    };
  }
  const hint = baseUrlHint(path) ?? 'The API is described at /openapi.json.';
  return { error: new DomainError('not_found', `There is nothing at this address. ${hint}`), allow: null };
}

const methodsOf = (path: string): string[] => [
  ...new Set(PATTERNS.filter((pattern) => pattern.path.test(path)).map(({ method }) => method)),
];

const isKnown = (path: string): boolean => methodsOf(path).length > 0;

/** How the base URL should read, when the path would be ours with another one. */
function baseUrlHint(path: string): string | null {
  const once = path.replace(/^\/v1(?:\/v1)+(?=\/)/, '/v1');
  if (once !== path && isKnown(once)) return `The path has /v1 twice. ${advice(once)}`;
  if (isKnown(`/v1${path}`)) return `The path lacks /v1. ${advice(`/v1${path}`)}`;
  const at = path.indexOf('/v1/', 1);
  if (at !== -1 && isKnown(path.slice(at)))
    return `The path has ${JSON.stringify(path.slice(0, Math.min(at, 80)))} too much. ${advice(path.slice(at))}`;
  return null;
}

const advice = (path: string): string =>
  /^\/v1\/messages(?:\/|$)/.test(path)
    ? 'The base URL of Anthropic’s SDKs is this server’s address without a path, such as http://HOST:PORT: they add /v1 themselves.'
    : 'The base URL of OpenAI’s SDKs is this server’s address and /v1, such as http://HOST:PORT/v1; that of Anthropic’s SDKs and of ours is the address alone.';
