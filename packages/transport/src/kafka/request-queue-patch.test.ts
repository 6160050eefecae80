import { createRequire } from 'node:module';
import { describe, expect, it, vi } from 'vitest';
import { patchRequestQueue } from './request-queue-patch.js';

const version: unknown = createRequire(import.meta.url)('kafkajs/package.json').version;

describe('the patch of the request queue of kafkajs', () => {
  it('fits the version that is installed', () => {
    expect(version).toBe('2.2.4');
  });

  it('sets no timer while nothing is pending, and one while something is', () => {
    patchRequestQueue();
    patchRequestQueue();
    const RequestQueue = createRequire(import.meta.url)('kafkajs/src/network/requestQueue');
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const queue = Object.assign(Object.create(RequestQueue.prototype), { pending: [], throttledUntil: -1 });
    queue.scheduleCheckPendingRequests();
    expect(timers).not.toHaveBeenCalled();
    queue.pending.push({});
    queue.scheduleCheckPendingRequests();
    expect(timers).toHaveBeenCalledOnce();
    clearTimeout(queue.throttleCheckTimeoutId);
  });
});
