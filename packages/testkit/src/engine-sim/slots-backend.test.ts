import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BackendJob } from './backend.js';
import { SlotsBackend, type SlotsOptions } from './slots-backend.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function create(options: Partial<SlotsOptions> = {}) {
  const done: string[] = [];
  let maxRunning = 0;
  const backend = new SlotsBackend(
    { slots: 2, serviceTimeMs: 100, jitter: 0, cachedTokens: 0, ...options },
    (running) => {
      maxRunning = Math.max(maxRunning, running);
    },
  );
  const submit = (id: string, job: Partial<BackendJob> = {}) =>
    backend.submit({
      id,
      promptText: '',
      promptTokens: 10,
      outputTokens: 5,
      priority: 0,
      slowFactor: 1,
      jitterUnit: 0.5,
      onDone: () => done.push(id),
      ...job,
    });
  return { backend, submit, done, maxRunning: () => maxRunning };
}

describe('SlotsBackend', () => {
  it('serves as many at once as it has slots, the others in order of arrival', () => {
    const { backend, submit, done, maxRunning } = create();
    for (const id of ['a', 'b', 'c', 'd', 'e']) submit(id);
    expect(backend.gauges()).toMatchObject({ running: 2, waiting: 3 });
    vi.advanceTimersByTime(100);
    expect(done).toEqual(['a', 'b']);
    vi.advanceTimersByTime(100);
    expect(done).toEqual(['a', 'b', 'c', 'd']);
    vi.advanceTimersByTime(100);
    expect(done).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(maxRunning()).toBe(2);
    expect(backend.gauges()).toMatchObject({ running: 0, promptTokens: 50, generationTokens: 25 });
  });

  it('answers at once without a service time', () => {
    const { submit, done } = create({ serviceTimeMs: 0 });
    submit('a');
    expect(done).toEqual(['a']);
  });

  it('varies the service time by the jitter, and slows a job down by its factor', () => {
    const { submit, done } = create({ slots: 9, jitter: 0.2 });
    submit('slow', { slowFactor: 3 });
    submit('late', { jitterUnit: 1 });
    submit('early', { jitterUnit: 0 });
    vi.advanceTimersByTime(80);
    expect(done).toEqual(['early']);
    vi.advanceTimersByTime(40);
    expect(done).toEqual(['early', 'late']);
    vi.advanceTimersByTime(180);
    expect(done).toEqual(['early', 'late', 'slow']);
  });

  it('gives the slot of an aborted job to the next one', () => {
    const { backend, submit, done } = create({ slots: 1 });
    for (const id of ['a', 'b', 'c']) submit(id);
    backend.abort('a');
    backend.abort('b');
    vi.advanceTimersByTime(100);
    expect(done).toEqual(['c']);
  });

  it('ends nothing while frozen, and what is overdue at the thaw', () => {
    const { backend, submit, done } = create();
    submit('a');
    backend.freeze();
    vi.advanceTimersByTime(1000);
    expect(done).toEqual([]);
    backend.thaw();
    expect(done).toEqual(['a']);
  });

  it('ends nothing after it was stopped', () => {
    const { backend, submit, done } = create();
    submit('a');
    backend.stop();
    vi.advanceTimersByTime(1000);
    expect(done).toEqual([]);
  });
});
