import { timingSafeEqual } from 'node:crypto';
import { forgetOldest } from '../forget-oldest.js';
import { type AccessLedger, type ApiKeyRecord, isActive } from '../ports/access.js';
import type { Clock } from '../ports/clock.js';
import { hashOf, parseApiKey } from './key-format.js';

/** A change of a key made elsewhere is seen within this; the product promises 5 s. */
const CACHE_MS = 4_000;
/** Uses closer together than this are not written. */
const TOUCH_INTERVAL_MS = 60_000;
const CACHED_KEYS = 10_000;

/** Compared with when there is no such key, so that the answer takes as long. */
const NO_HASH = Buffer.alloc(32);

type KeyLedger = Pick<AccessLedger, 'getApiKey' | 'hasApiKeys' | 'touchApiKey'>;

interface Cached {
  readonly key: Promise<ApiKeyRecord | null>;
  readonly readAtMs: number;
}

/** The ledger's keys as requests present them. What was read is kept for some seconds: a request costs no query. */
export class KeyRing {
  readonly #ledger: KeyLedger;
  readonly #clock: Clock;
  readonly #keys = new Map<string, Cached>();
  readonly #touchedAtMs = new Map<string, number>();
  #hasKeys: { value: Promise<boolean>; readAtMs: number } | null = null;

  constructor(params: { ledger: KeyLedger; clock: Clock }) {
    this.#ledger = params.ledger;
    this.#clock = params.clock;
  }

  /** Whether requests need a key: from the first key on, for ever. */
  async hasKeys(): Promise<boolean> {
    if (this.#hasKeys === null || this.#isOld(this.#hasKeys.readAtMs)) {
      this.#hasKeys = { value: this.#ledger.hasApiKeys(), readAtMs: this.#clock.nowMs() };
      this.#hasKeys.value.catch(() => {
        this.#hasKeys = null;
      });
    }
    const hasKeys = await this.#hasKeys.value;
    if (hasKeys && this.#hasKeys !== null) this.#hasKeys.readAtMs = Number.POSITIVE_INFINITY;
    return hasKeys;
  }

  /** The key that was presented; `null` alike for what is no key, unknown, wrong, revoked and expired ones. */
  async find(presented: string): Promise<ApiKeyRecord | null> {
    const parts = parseApiKey(presented);
    if (parts === null) return null;
    const key = await this.#read(parts.id);
    const same = timingSafeEqual(hashOf(parts.secret), key === null ? NO_HASH : Buffer.from(key.hash, 'hex'));
    if (key === null || !same || !isActive(key, this.#clock.nowMs())) return null;
    this.#touch(key);
    return key;
  }

  /** A key was changed by this process: it is read again at its next use. */
  changed(id: string): void {
    this.#keys.delete(id);
    this.#hasKeys = null;
  }

  #read(id: string): Promise<ApiKeyRecord | null> {
    const cached = this.#keys.get(id);
    if (cached !== undefined && !this.#isOld(cached.readAtMs)) return cached.key;
    const key = this.#ledger.getApiKey({ id });
    this.#keys.delete(id);
    this.#keys.set(id, { key, readAtMs: this.#clock.nowMs() });
    // What failed is asked again by the next request.
    key.catch(() => this.#keys.delete(id));
    forgetOldest(this.#keys, CACHED_KEYS);
    return key;
  }

  /** A clock that was set back makes everything old. */
  #isOld(readAtMs: number): boolean {
    if (readAtMs === Number.POSITIVE_INFINITY) return false;
    const ageMs = this.#clock.nowMs() - readAtMs;
    return ageMs < 0 || ageMs >= CACHE_MS;
  }

  #touch({ id, lastUsedAtMs }: ApiKeyRecord): void {
    const nowMs = this.#clock.nowMs();
    const touchedAtMs = Math.max(lastUsedAtMs ?? 0, this.#touchedAtMs.get(id) ?? 0);
    if (nowMs - touchedAtMs < TOUCH_INTERVAL_MS) return;
    this.#touchedAtMs.set(id, nowMs);
    // Only told to people: a request does not wait for it, nor fail with it.
    this.#ledger.touchApiKey({ id, nowMs }).catch(() => this.#touchedAtMs.delete(id));
  }
}
