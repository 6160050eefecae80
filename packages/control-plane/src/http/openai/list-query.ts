import { LIMITS } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';
import { CURSORS, cursorOf } from '../cursor.js';

/** `after` and `limit` of OpenAI's lists. */
export interface PageQuery {
  readonly after?: string;
  readonly limit?: string;
}

export interface Page {
  readonly limit: number;
  readonly after?: string;
}

interface PageSize {
  /** Without a limit of the client's. */
  readonly standard: number;
  readonly most: number;
  /** What a client may ask for; a page then holds our most, and `has_more` says so. */
  readonly accepted: number;
}

const BATCHES: PageSize = {
  standard: LIMITS.listDefault,
  most: LIMITS.listMax,
  accepted: LIMITS.fileListMax,
};

/** As upstream, whole where nothing else is asked for: clients rely on it, and some never ask for a second page. */
export const FILES: PageSize = {
  standard: LIMITS.fileListMax,
  most: LIMITS.fileListMax,
  accepted: LIMITS.fileListMax,
};

/** @throws DomainError `invalid_parameter`, `invalid_cursor` */
export function pageOf(query: PageQuery, kind: keyof typeof CURSORS, size: PageSize = BATCHES): Page {
  const limit = query.limit === undefined ? size.standard : Number(query.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > size.accepted) {
    throw new DomainError('invalid_parameter', `limit must be a whole number from 1 to ${size.most}.`, {
      param: 'limit',
    });
  }
  const after = cursorOf(query.after, 'after', CURSORS[kind]);
  return { limit: Math.min(limit, size.most), ...(after === undefined ? {} : { after }) };
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
