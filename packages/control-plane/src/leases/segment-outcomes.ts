import { decodeSegment, type SegmentHeader } from '@batch-infer/contracts';
import { DomainError } from '../errors.js';
import { positionOf } from '../plan/positions.js';
import type { ItemOutcome, ShardRecord } from '../ports/records.js';

type ShardItems = Pick<ShardRecord, 'first' | 'count' | 'indexes'>;

/**
 * Reads a segment's headers and holds every one against the shard: a runner must not end items that it does not hold.
 * The bodies pass through unread. Of two lines of one item the first counts, for readers too.
 * @throws DomainError `invalid_request`, naming the line.
 */
export function outcomesOf(segment: Uint8Array, shard: ShardItems): ItemOutcome[] {
  const outcomes = new Map<number, ItemOutcome>();
  let line = 0;
  try {
    for (const { header, body } of decodeSegment(segment)) {
      line += 1;
      const fault = faultOf(header, body.length, shard);
      if (fault) throw new DomainError('invalid_request', `Line ${line} of the segment ${fault}.`);
      if (!outcomes.has(header.i)) outcomes.set(header.i, toOutcome(header));
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new DomainError('invalid_request', `Line ${line + 1} of the segment has no valid header.`, {
      cause: error,
    });
  }
  if (outcomes.size === 0) throw new DomainError('invalid_request', 'The segment has no lines.');
  return [...outcomes.values()];
}

function faultOf(header: SegmentHeader, bodyBytes: number, shard: ShardItems): string | null {
  if (typeof header !== 'object' || header === null) return 'has a header that is not an object';
  if (!Number.isInteger(header.i)) return 'has no item index "i"';
  const position = positionOf(shard, header.i);
  if (position < 0 || position >= shard.count) return 'names an item outside of the shard';
  if (typeof header.c !== 'string' || header.c === '') return 'has no custom id "c"';
  if (typeof header.ok !== 'boolean') return 'has no outcome "ok"';
  if (header.ok && bodyBytes === 0) return 'has no body although the item succeeded';
  if (!header.ok && (typeof header.e?.code !== 'string' || typeof header.e.message !== 'string')) {
    return 'has no error "e" although the item failed';
  }
  if (header.u !== undefined && !isUsage(header.u))
    return 'has token counts "u" that are not four whole numbers';
  return null;
}

const isUsage = (usage: unknown): boolean =>
  Array.isArray(usage) &&
  usage.length === 4 &&
  usage.every((count) => Number.isSafeInteger(count) && count >= 0);

function toOutcome(header: SegmentHeader): ItemOutcome {
  return {
    index: header.i,
    customId: header.c,
    ok: header.ok,
    error: header.ok ? null : (header.e ?? null),
    usage: header.u
      ? {
          inputTokens: header.u[0],
          cachedInputTokens: header.u[1],
          outputTokens: header.u[2],
          reasoningTokens: header.u[3],
        }
      : null,
  };
}
