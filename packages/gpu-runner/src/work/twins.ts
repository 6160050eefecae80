import { createHash } from 'node:crypto';
import { isDetermined } from '@batch-infer/contracts';
import type { WorkItem } from './item.js';

/**
 * Identical requests of one shard whose answer is determined by the request: the first one runs, the others wait for its
 * answer and take it over. Only for jobs that asked for it.
 */
export class Twins {
  /** Those that wait, by the item that runs. */
  readonly #waiting = new Map<WorkItem, WorkItem[]>();
  readonly #running = new Map<string, WorkItem>();
  readonly #keys = new WeakMap<WorkItem, string>();

  /** True when a request like it is under way: the item then ends with that one. */
  join(item: WorkItem): boolean {
    // An item that has been in trouble shows what it does by itself.
    if (item.history.charged > 0 || item.history.deaths > 0 || !isDetermined(item.path, parsed(item.body)))
      return false;
    const key = createHash('sha256').update(item.path).update('\0').update(item.body).digest('base64');
    const first = this.#running.get(key);
    if (first === undefined) {
      this.#running.set(key, item);
      this.#keys.set(item, key);
      return false;
    }
    const waiting = this.#waiting.get(first);
    if (waiting === undefined) this.#waiting.set(first, [item]);
    else waiting.push(item);
    return true;
  }

  /** Those that waited for an item that has ended. */
  release(item: WorkItem): readonly WorkItem[] {
    const key = this.#keys.get(item);
    if (key === undefined) return [];
    this.#running.delete(key);
    const waiting = this.#waiting.get(item) ?? [];
    this.#waiting.delete(item);
    return waiting;
  }
}

function parsed(body: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
