import { createRequire } from 'node:module';

interface RequestQueue {
  readonly pending: readonly unknown[];
  readonly throttledUntil: number;
  scheduleCheckPendingRequests(): void;
}

const patched = new WeakSet<object>();

/**
 * kafkajs 2.2.4 schedules its next look at the request queue also when the queue is empty and nothing is throttled, with
 * a negative delay: an idle client wakes 800 times a second, and Node 24 warns of it. With an empty queue there is
 * nothing to look at: `push` schedules again. The deep path needs kafkajs pinned to this version.
 */
export function patchRequestQueue(): void {
  const queueClass: unknown = createRequire(import.meta.url)('kafkajs/src/network/requestQueue');
  const prototype: unknown = typeof queueClass === 'function' ? queueClass.prototype : null;
  if (!isRequestQueue(prototype) || patched.has(prototype)) return;
  patched.add(prototype);
  const schedule = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue): void {
    if (this.pending.length === 0 && this.throttledUntil <= Date.now()) return;
    schedule.call(this);
  };
}

function isRequestQueue(value: unknown): value is RequestQueue {
  return (
    typeof value === 'object' &&
    value !== null &&
    'scheduleCheckPendingRequests' in value &&
    typeof value.scheduleCheckPendingRequests === 'function'
  );
}
