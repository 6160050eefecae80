import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { describe, expect, test } from 'vitest';
import { recordingLogger } from '../../test/fixtures.js';
import { ManualClock } from '../../test/manual-clock.js';
import { AWAY_MS, runSession } from './session.js';

const report: RunnerReport = {
  runner_id: 'run_1',
  version: '1',
  models: ['m'],
  engines: [],
  free_slots: 0,
  in_flight: 0,
  items_per_second: 0,
};
const welcome = { type: 'welcome', lease_ms: 30_000, renew_interval_ms: 2_500, transport: 'kafka' };

/** A control plane that can be away, and what the runner was told of it. */
function follow() {
  const clock = new ManualClock();
  const stopping = new AbortController();
  const told: string[] = [];
  let isAway = true;
  const ended = runSession({
    serverUrl: 'http://control-plane',
    open: async (_report, signal) => {
      if (isAway) throw new Error('connect ECONNREFUSED');
      return (async function* () {
        yield Buffer.from(`${JSON.stringify(welcome)}\n`);
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      })();
    },
    report: () => report,
    onWelcome: () => told.push('welcome'),
    onStop: () => told.push('stop'),
    onAway: () => told.push('away'),
    clock,
    logger: recordingLogger(),
    random: () => 0.5,
    signal: stopping.signal,
  });
  const pass = (ms: number) => clock.advance(ms);
  const stop = () => {
    stopping.abort();
    return ended;
  };
  return { told, pass, stop, comeBack: () => (isAway = false) };
}

describe('a session that is broken', () => {
  test('says once that the control plane is away, when it is longer than a restart takes', async () => {
    const { told, pass, stop, comeBack } = follow();
    await pass(AWAY_MS - 200);
    expect(told).toEqual([]);
    await pass(20_000);
    expect(told).toEqual(['away']);
    comeBack();
    await pass(5_000);
    expect(told).toEqual(['away', 'welcome']);
    await stop();
  });

  test('is back within half a second of a restart', async () => {
    for (let downMs = 500; downMs < AWAY_MS - 500; downMs += 700) {
      const { told, pass, stop, comeBack } = follow();
      await pass(downMs);
      comeBack();
      await pass(500);
      expect(told).toEqual(['welcome']);
      await stop();
    }
  });

  test('says nothing of a short absence', async () => {
    const { told, pass, stop, comeBack } = follow();
    await pass(AWAY_MS / 2);
    comeBack();
    await pass(AWAY_MS);
    expect(told).toEqual(['welcome']);
    await stop();
  });
});
