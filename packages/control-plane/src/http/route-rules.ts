import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import type { ApiRoute } from './api-route.js';
import { routeKeyOf } from './auth/route-scopes.js';
import { assertEmpty, streamsBody } from './content-parsers.js';
import { API_ROUTES } from './openapi-routes.js';

const ROUTES: ReadonlyMap<string, ApiRoute> = new Map(
  API_ROUTES.map((route) => [routeKeyOf(route.method, route.path.replaceAll(/\{(\w+)\}/g, ':$1')), route]),
);

/** What official SDKs add to any address, and what means nothing here: `beta` (Anthropic's), `api-version` (Azure's). */
const WITHOUT_MEANING: ReadonlySet<string> = new Set(['beta', 'api-version']);

/** Lists, which may come as `status=a,b` or as `status=a&status=b`. */
const LISTS: ReadonlySet<string> = new Set(['status', 'include[]']);

/**
 * Holds every request to what the route table says of it, so that nothing a client asks for is ignored without a word:
 * - a query parameter that the route does not have, or that comes twice, is refused;
 * - so is a field of a JSON body on a route that takes none, and a body of bytes where there can only be JSON.
 *
 * Register behind authentication: who may not ask is told so first.
 */
export function registerRouteRules(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', async (request) => {
    const route = routeOf(request);
    // Probes and scrapers may add what they like.
    if (route !== undefined && route.scope !== 'public') checkQuery(request.query, route);
  });
  fastify.addHook('preHandler', async (request) => {
    const route = routeOf(request);
    if (route === undefined) return;
    if (request.body instanceof Readable && !takesStream(request, route)) {
      await assertEmpty(request, request.body);
      request.body = undefined;
    }
    if (route.request === undefined) refuseFields(request.body);
  });
}

function routeOf(request: FastifyRequest): ApiRoute | undefined {
  const { url } = request.routeOptions;
  return url === undefined ? undefined : ROUTES.get(routeKeyOf(request.method, url));
}

/** Forms say themselves what they lack. */
const STREAMS: ReadonlySet<string> = new Set(['application/x-ndjson', 'multipart/form-data']);

const takesStream = (request: FastifyRequest, route: ApiRoute): boolean =>
  streamsBody(request) || Object.keys(route.request?.content ?? {}).some((type) => STREAMS.has(type));

/** @throws DomainError `invalid_parameter` */
function checkQuery(query: unknown, { query: described = {} }: ApiRoute): void {
  const known = Object.keys(described);
  for (const [key, value] of Object.entries(query ?? {})) {
    const name = /^(metadata)\[.+\]$/.exec(key)?.[1] ?? key;
    if (!known.includes(name)) {
      if (WITHOUT_MEANING.has(name)) continue;
      const shown = name.slice(0, 80);
      const choice = known.length === 0 ? 'This route has none.' : `Known: ${known.join(', ')}.`;
      throw new DomainError('invalid_parameter', `${shown} is not a known query parameter. ${choice}`, {
        param: shown,
        errors: [
          {
            line: null,
            param: shown,
            code: 'unknown_parameter',
            message: `${shown} is not a known query parameter`,
          },
        ],
      });
    }
    if (Array.isArray(value) && !LISTS.has(key)) {
      const shown = key.slice(0, 80);
      throw new DomainError('invalid_parameter', `${shown} came ${value.length} times: send it once.`, {
        param: shown,
      });
    }
  }
}

/** @throws DomainError `invalid_parameter` */
function refuseFields(body: unknown): void {
  if (typeof body !== 'object' || body === null) return;
  const [field] = Object.keys(body);
  if (field === undefined) return;
  const shown = field.slice(0, 80);
  throw new DomainError(
    'invalid_parameter',
    `${shown} is not a known parameter: this request takes no body.`,
    {
      param: shown,
      errors: [
        { line: null, param: shown, code: 'unknown_parameter', message: `${shown} is not a known parameter` },
      ],
    },
  );
}
