import type { ApiKeyScope } from '@batch-infer/contracts/access';

/** What a caller's key must be allowed to do: `any` key will do, or none is asked for (`public`). */
export type RouteScope = ApiKeyScope | 'any' | 'public';

/** One route of the API as the OpenAPI document has it. A test holds the table to the routes that are registered. */
export interface ApiRoute {
  readonly method: 'get' | 'post' | 'delete';
  /** With `{name}` for parameters. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly tag:
    | 'jobs'
    | 'files'
    | 'batches'
    | 'message batches'
    | 'synchronous'
    | 'responses'
    | 'webhooks'
    | 'access'
    | 'server'
    | 'runner protocol';
  /** Authentication goes by it: a route that is not in this table answers nobody. */
  readonly scope: RouteScope;
  /** Query parameters and what they do. */
  readonly query?: Readonly<Record<string, string>>;
  readonly request?: { readonly required?: boolean; readonly content: Content };
  /** Status of success. */
  readonly status: number;
  readonly answer?: Content;
  /** Errors, where they are not only a `Problem`. */
  readonly errors?: Content;
  /** Further statuses of success. */
  readonly otherwise?: Readonly<Record<number, { readonly description: string; readonly content: Content }>>;
}

/** Content types with the name of a schema in `components`, or a schema. */
export type Content = Readonly<Record<string, string | object>>;

export const json = (schema: string | object): Content => ({ 'application/json': schema });
export const ndjson = (schema: string | object): Content => ({ 'application/x-ndjson': schema });
/** Errors of routes whose words the caller chooses, or whose errors may be the engine's own. */
export const eitherError = (schema: string | object): Content => ({
  'application/problem+json': 'Problem',
  ...json(schema),
});
export const bytes: Content = { 'application/octet-stream': { type: 'string', format: 'binary' } };
export const text = { type: 'string' };
export const list = (schema: string): object => ({
  type: 'object',
  required: ['object', 'data'],
  properties: {
    object: { const: 'list' },
    data: { type: 'array', items: { $ref: `#/components/schemas/${schema}` } },
    first_id: { type: ['string', 'null'] },
    last_id: { type: ['string', 'null'] },
    has_more: { type: 'boolean' },
  },
});
