import { describe, expect, it, vi } from 'vitest';
import { openUseCases } from '../../use-cases-fixture.js';
import { Readiness } from './readiness.js';

describe('readiness', () => {
  it('says which part is away, and no more than that', async () => {
    const { ledger, blobs, recorder, close } = await openUseCases();
    const failing = async () => {
      throw Object.assign(new Error('connect to postgres://user:hunter2@db'), { code: 'ECONNREFUSED' });
    };
    const ready = new Readiness(ledger, blobs, recorder);
    expect(await ready.report()).toMatchObject({ status: 'ready' });

    const withoutLedger = await new Readiness({ ...ledger, check: failing }, blobs, recorder).report();
    expect(withoutLedger).toMatchObject({
      status: 'not_ready',
      checks: {
        ledger: { state: 'down', reason: 'the ledger does not answer (ECONNREFUSED)' },
        blobs: { state: 'up' },
      },
    });

    recorder.down = true;
    expect(await ready.report()).toMatchObject({
      status: 'degraded',
      checks: { transport: { state: 'down' } },
    });
    const keyFile = { health: () => ({ state: 'degraded' as const, reason: 'cannot be read' }) };
    recorder.down = false;
    expect(await new Readiness(ledger, blobs, recorder, keyFile).report()).toMatchObject({
      status: 'degraded',
      checks: { transport: { state: 'up' }, api_keys: { reason: 'cannot be read' } },
    });
    ready.drain();
    expect(await ready.report()).toMatchObject({ status: 'draining' });
    await close();
  });

  it('writes once for all that ask within a while, and looks again soon when something was away', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const { ledger, blobs, recorder, close } = await openUseCases();
    try {
      let checks = 0;
      let isAway = false;
      const counting = {
        ...ledger,
        check: async () => {
          checks += 1;
          if (isAway) throw new Error('away');
        },
      };
      const readiness = new Readiness(counting, blobs, recorder);
      const statuses = async () => {
        const reports = await Promise.all(Array.from({ length: 50 }, () => readiness.report()));
        return [...new Set(reports.map(({ status }) => status))];
      };
      expect(await statuses()).toEqual(['ready']);
      isAway = true;
      vi.advanceTimersByTime(9_000);
      expect(await statuses()).toEqual(['ready']);
      expect(checks).toBe(1);
      vi.advanceTimersByTime(2_000);
      expect(await statuses()).toEqual(['not_ready']);
      isAway = false;
      vi.advanceTimersByTime(2_500);
      expect(await statuses()).toEqual(['ready']);
      expect(checks).toBe(3);
    } finally {
      vi.useRealTimers();
      await close();
    }
  });
});
