import { describe, expect, it } from 'vitest';
import { LedgerClock } from './clock.js';

function start() {
  const time = { wallMs: 1_000_000, monotonicMs: 0 };
  const clock = new LedgerClock({ wallMs: () => time.wallMs, monotonicMs: () => time.monotonicMs });
  return { time, clock };
}

describe("the ledger's clock", () => {
  it("is the process's own without a server, follows it ahead, and never back", () => {
    const { time, clock } = start();
    expect(clock.nowMs()).toBe(1_000_000);
    time.wallMs -= 3_600_000;
    time.monotonicMs += 5_000;
    expect(clock.nowMs()).toBe(1_005_000);
    time.wallMs = 2_000_000;
    expect(clock.nowMs()).toBe(2_000_000);
  });

  it("is the server's, whatever the process's clock says and does", async () => {
    const { time, clock } = start();
    let serverMs = 1_300_000;
    await clock.measure(async () => {
      time.monotonicMs += 10;
      serverMs += 10;
      return serverMs - 5;
    });
    expect(clock.nowMs()).toBe(serverMs);
    time.wallMs += 900_000;
    time.monotonicMs += 1_000;
    expect(clock.nowMs()).toBe(serverMs + 1_000);
  });

  it('does not go back for a small correction, and keeps what it knew when answers are slow or fail', async () => {
    const { time, clock } = start();
    await clock.measure(async () => 1_300_000);
    await clock.measure(async () => 1_299_900);
    expect(clock.nowMs()).toBe(1_299_900);
    const before = clock.nowMs();
    await clock.measure(async () => 1_299_800);
    expect(clock.nowMs()).toBe(before);
    await clock.measure(async () => {
      time.monotonicMs += 2_000;
      return 9_000_000;
    });
    expect(clock.nowMs()).toBeLessThan(1_400_000);
    await expect(clock.measure(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
    expect(clock.nowMs()).toBeLessThan(1_400_000);
  });
});
