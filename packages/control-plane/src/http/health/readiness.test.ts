import { describe, expect, it } from 'vitest';
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
    ready.drain();
    expect(await ready.report()).toMatchObject({ status: 'draining' });
    await close();
  });
});
