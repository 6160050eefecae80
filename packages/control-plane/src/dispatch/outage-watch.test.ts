import { describe, expect, it } from 'vitest';
import { OutageWatch } from './outage-watch.js';

class Memory {
  value: number | null = 0;
  async read(): Promise<number | null> {
    return this.value;
  }
  async write(nowMs: number): Promise<void> {
    this.value = nowMs;
  }
}

const watchOver = (lastAlive: Memory) =>
  new OutageWatch({ lastAlive, thresholdMs: 5_000, silenceMs: 20_000 });

describe('the outage watch', () => {
  it('counts the time from the last answer to the first one after failures', async () => {
    const watch = watchOver(new Memory());
    watch.failed();
    watch.failed();
    expect(await watch.lostMs(61_000)).toBe(61_000);
    await watch.alive(61_000);
    expect(await watch.lostMs(62_000)).toBe(0);
  });

  it('tells it again until it was forgiven', async () => {
    const watch = watchOver(new Memory());
    watch.failed();
    expect(await watch.lostMs(60_000)).toBe(60_000);
    expect(await watch.lostMs(61_000)).toBe(61_000);
  });

  it('forgives nothing short, and nothing where another process found the ledger well meanwhile', async () => {
    const memory = new Memory();
    const watch = watchOver(memory);
    watch.failed();
    expect(await watch.lostMs(5_000)).toBe(0);
    memory.value = 58_000;
    expect(await watch.lostMs(60_000)).toBe(0);
  });

  it('sees an outage in which every process was started again', async () => {
    expect(await watchOver(new Memory()).lostMs(60_000)).toBe(60_000);
  });

  it('asks for a longer silence when nothing failed here, and forgives nothing of a new ledger', async () => {
    expect(await watchOver(new Memory()).lostMs(19_000)).toBe(0);
    const fresh = new Memory();
    fresh.value = null;
    expect(await watchOver(fresh).lostMs(60_000)).toBe(0);
  });
});
