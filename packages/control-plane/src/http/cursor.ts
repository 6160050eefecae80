import { DomainError } from '../errors.js';

/** What the id of a cursor is the id of. */
interface CursorKind {
  /** How a message calls it. */
  readonly what: string;
  /** Beginnings of its ids, behind which 32 hex digits stand. */
  readonly prefixes: readonly string[];
}

export const CURSORS = {
  file: { what: 'file', prefixes: ['file-'] },
  batch: { what: 'batch', prefixes: ['batch_'] },
  messageBatch: { what: 'message batch', prefixes: ['msgbatch_'] },
  /** By its name in any dialect. */
  job: { what: 'job', prefixes: ['job_', 'batch_', 'msgbatch_', 'resp_'] },
  webhookEndpoint: { what: 'webhook endpoint', prefixes: ['whe_'] },
  webhookDelivery: { what: 'webhook delivery', prefixes: ['whd_'] },
} as const satisfies Record<string, CursorKind>;

/**
 * The cursor of a list: the id where the page before ended. The row itself may be gone by now: ids are made in the order
 * of time, so that the list goes on behind it all the same.
 * @throws DomainError `invalid_cursor` for what is no id of this kind
 */
export function cursorOf(
  value: string | undefined,
  param: string,
  { what, prefixes }: CursorKind,
): string | undefined {
  if (value === undefined) return undefined;
  const digits = prefixes.find((prefix) => value.startsWith(prefix))?.length;
  if (digits !== undefined && /^[0-9a-f]{32}$/.test(value.slice(digits))) return value;
  throw new DomainError(
    'invalid_cursor',
    `${param} must be the id of a ${what}, ${prefixes[0] ?? ''} and 32 hex digits, as the page before gave it. Leave it out for the first page.`,
    { param },
  );
}
