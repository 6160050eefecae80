import { beforeEach, describe, expect, it } from 'vitest';
import type { AccessLedger, ApiKeyRecord } from '../ports/access.js';
import { ManualClock } from '../use-cases-fixture.js';
import { newApiKey, parseApiKey } from './key-format.js';
import { KeyRing } from './key-ring.js';

let clock: ManualClock;
let rows: Map<string, ApiKeyRecord>;
let queries: number;
let touches: number[];
let failing: boolean;
let ring: KeyRing;

beforeEach(() => {
  clock = new ManualClock();
  rows = new Map();
  queries = 0;
  touches = [];
  failing = false;
  const ledger: Pick<AccessLedger, 'getApiKey' | 'hasApiKeys' | 'touchApiKey'> = {
    getApiKey: async ({ id }) => {
      queries += 1;
      if (failing) throw new Error('the ledger is away');
      return rows.get(id) ?? null;
    },
    hasApiKeys: async () => {
      queries += 1;
      return rows.size > 0;
    },
    touchApiKey: async ({ nowMs }) => {
      touches.push(nowMs);
      if (failing) throw new Error('the ledger is away');
    },
  };
  ring = new KeyRing({ ledger, clock });
});

function add(fields: Partial<ApiKeyRecord> = {}): string {
  const { id, key, hash } = newApiKey(clock.nowMs());
  rows.set(id, {
    id,
    hash,
    projectId: 'p',
    name: 'one',
    scopes: ['read'],
    createdAtMs: clock.nowMs(),
    expiresAtMs: null,
    revokedAtMs: null,
    lastUsedAtMs: null,
    rotatedTo: null,
    ...fields,
  });
  return key;
}

const idOf = (key: string): string => parseApiKey(key)?.id ?? '';

describe('a key', () => {
  it('has a prefix, a public id and a secret of at least 190 bits', () => {
    const { id, key } = newApiKey(0);
    const [prefix, publicId, secret = ''] = key.split('_');
    expect([prefix, `key_${publicId}`]).toEqual(['bi', id]);
    expect(secret.length * Math.log2(62)).toBeGreaterThanOrEqual(190);
    expect(newApiKey(0).key).not.toBe(key);
  });

  it('is found by what was presented, with its secret only', async () => {
    const key = add();
    const other = add();
    expect(await ring.find(key)).toMatchObject({ projectId: 'p', scopes: ['read'] });
    const mixed = `${key.slice(0, key.lastIndexOf('_'))}${other.slice(other.lastIndexOf('_'))}`;
    for (const wrong of [mixed, `${key}x`, 'bi__', '', newApiKey(0).key]) {
      expect(await ring.find(wrong), wrong).toBeNull();
    }
  });

  it('ends at its time, without a query', async () => {
    const key = add({ expiresAtMs: clock.nowMs() + 1_000 });
    clock.advance(999);
    expect(await ring.find(key)).not.toBeNull();
    clock.advance(1);
    expect(await ring.find(key)).toBeNull();
    expect(queries).toBe(1);
  });
});

describe('the ring of keys', () => {
  it('asks the ledger once for many requests, also for those at the same time', async () => {
    const key = add();
    await Promise.all(Array.from({ length: 100 }, () => ring.find(key)));
    clock.advance(3_999);
    await ring.find(key);
    expect(queries).toBe(1);
  });

  it('refuses a key within 5 seconds of its revocation elsewhere, and at once of one here', async () => {
    const key = add();
    await ring.find(key);
    const row = rows.get(idOf(key));
    if (row === undefined) throw new Error('no row');
    rows.set(row.id, { ...row, revokedAtMs: clock.nowMs() });
    clock.advance(4_999);
    expect(await ring.find(key)).toBeNull();

    const second = add();
    await ring.find(second);
    rows.delete(idOf(second));
    ring.changed(idOf(second));
    expect(await ring.find(second)).toBeNull();
  });

  it('asks again after the ledger was away', async () => {
    const key = add();
    failing = true;
    await expect(ring.find(key)).rejects.toThrow('away');
    failing = false;
    expect(await ring.find(key)).not.toBeNull();
  });

  it('writes a use once a minute, and never makes a request wait or fail for it', async () => {
    const key = add();
    const begunAtMs = clock.nowMs();
    for (let second = 0; second <= 60; second += 1) {
      await ring.find(key);
      clock.advance(1_000);
    }
    expect(touches).toEqual([begunAtMs, begunAtMs + 60_000]);
  });

  it('needs keys from the first one on', async () => {
    expect(await ring.hasKeys()).toBe(false);
    expect(await ring.hasKeys()).toBe(false);
    expect(queries).toBe(1);
    const key = add();
    clock.advance(4_000);
    expect(await ring.hasKeys()).toBe(true);
    rows.delete(idOf(key));
    clock.advance(60_000);
    expect(await ring.hasKeys()).toBe(true);
    expect(queries).toBe(2);
  });
});
