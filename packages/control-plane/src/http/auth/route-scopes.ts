import type { RouteScope } from '../api-route.js';
import { API_ROUTES } from '../openapi-routes.js';

/** `get /v1/files/:id` for `GET` and Fastify's pattern of a route; wildcards stand for an id. */
export function routeKeyOf(method: string, pattern: string): string {
  const name = method.toLowerCase();
  return `${name === 'head' ? 'get' : name} ${pattern.replace(/\/\*\w*$/, '/:id')}`;
}

const SCOPES: ReadonlyMap<string, RouteScope> = new Map(
  API_ROUTES.map(({ method, path, scope }) => [
    routeKeyOf(method, path.replaceAll(/\{(\w+)\}/g, ':$1')),
    scope,
  ]),
);

/** What a key must be allowed to do on a route; undefined for routes that are not in the table. */
export const routeScopeOf = (method: string, pattern: string): RouteScope | undefined =>
  SCOPES.get(routeKeyOf(method, pattern));
