import { LIMITS } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';
import { CURSORS, cursorOf } from '../cursor.js';

/** `before_id`, `after_id` and `limit` of Anthropic's lists. */
export interface MessageListQuery {
  readonly before_id?: string;
  readonly after_id?: string;
  readonly limit?: string;
}

/** @throws DomainError `invalid_parameter`, `invalid_cursor` */
export function messagePageOf(query: MessageListQuery): { limit: number; after?: string; before?: string } {
  const limit = query.limit === undefined ? LIMITS.listDefault : Number(query.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIMITS.messageBatchListMax) {
    throw new DomainError(
      'invalid_parameter',
      `limit must be a whole number from 1 to ${LIMITS.messageBatchListMax}.`,
      { param: 'limit' },
    );
  }
  if (query.after_id !== undefined && query.before_id !== undefined) {
    throw new DomainError('invalid_parameter', 'Only one of before_id and after_id can be given.', {
      param: 'before_id',
    });
  }
  const after = cursorOf(query.after_id, 'after_id', CURSORS.messageBatch);
  const before = cursorOf(query.before_id, 'before_id', CURSORS.messageBatch);
  return { limit, ...(after === undefined ? {} : { after }), ...(before === undefined ? {} : { before }) };
}
