import { createHash } from 'node:crypto';
import { isExactNumber } from '@batch-infer/contracts';
import type { IdempotencyClaim } from '../ports/ledger.js';

/** What a request says about being sent twice; a create adds the fingerprint of its content. */
export type CreateAttempt = Omit<IdempotencyClaim, 'fingerprint'>;

/** SHA-256 (hex) over canonical JSON of the parts: the same whatever the order of keys. */
export function fingerprintOf(...parts: readonly unknown[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(canonicalJson(part)).update('\n');
  return hash.digest('hex');
}

/** JSON with the keys of every object sorted. */
function canonicalJson(value: unknown): string {
  if (isExactNumber(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}
