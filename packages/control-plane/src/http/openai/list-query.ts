import { LIMITS } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';

/** `after` and `limit` of OpenAI's lists. */
export interface PageQuery {
  readonly after?: string;
  readonly limit?: string;
}

export interface Page {
  readonly limit: number;
  readonly after?: string;
}

/** OpenAI lets files be listed up to 10,000 at a time; a page then holds our most, and `has_more` says so. */
const ACCEPTED_LIMIT = 10_000;

/** @throws DomainError `invalid_parameter` */
export function pageOf(query: PageQuery): Page {
  const limit = query.limit === undefined ? LIMITS.listDefault : Number(query.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > ACCEPTED_LIMIT) {
    throw new DomainError('invalid_parameter', `limit must be a whole number from 1 to ${LIMITS.listMax}.`, {
      param: 'limit',
    });
  }
  return {
    limit: Math.min(limit, LIMITS.listMax),
    ...(query.after === undefined ? {} : { after: query.after }),
  };
}

export interface ListView<T> {
  readonly object: 'list';
  readonly data: readonly T[];
  readonly first_id: string | null;
  readonly last_id: string | null;
  /** Python's pager loops for ever when this is absent. */
  readonly has_more: boolean;
}

export const toListView = <T extends { readonly id: string }>(
  data: readonly T[],
  hasMore: boolean,
): ListView<T> => ({
  object: 'list',
  data,
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
  has_more: hasMore,
});
