import { afterEach, describe, expect, it, vi } from 'vitest';
import { Loop, type LoopOptions } from './loop.js';
import { silentLogger } from './telemetry/logger.js';

const loops: Loop[] = [];

function startLoop(options: Pick<LoopOptions, 'tick'> & Partial<LoopOptions>): Loop {
  const loop = new Loop({ name: 'test', intervalMs: 3_600_000, logger: silentLogger(), ...options });
  loops.push(loop);
  loop.start();
  return loop;
}

afterEach(async () => {
  for (const loop of loops.splice(0)) await loop.stop();
});

describe('a loop', () => {
  it('ticks at once, and again when it is woken', async () => {
    let ticks = 0;
    const loop = startLoop({
      tick: async () => {
        ticks += 1;
      },
    });
    await vi.waitFor(() => expect(ticks).toBe(1));
    loop.wake();
    await vi.waitFor(() => expect(ticks).toBe(2));
  });

  it('does not lose a wake that comes while it ticks', async () => {
    let ticks = 0;
    let release: () => void = () => {};
    const loop = startLoop({
      tick: async () => {
        ticks += 1;
        if (ticks === 1) {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        }
      },
    });
    await vi.waitFor(() => expect(ticks).toBe(1));
    loop.wake();
    release();
    await vi.waitFor(() => expect(ticks).toBe(2));
  });

  it('goes on at once while there is more to do', async () => {
    let ticks = 0;
    startLoop({
      tick: async () => {
        ticks += 1;
        return ticks < 50;
      },
    });
    await vi.waitFor(() => expect(ticks).toBe(50));
  });

  it('logs a failure once, backs off and recovers', async () => {
    let ticks = 0;
    const logger = silentLogger();
    const errors = vi.spyOn(logger, 'error');
    startLoop({
      intervalMs: 1,
      maxBackoffMs: 2,
      logger,
      tick: async () => {
        ticks += 1;
        if (ticks < 5) throw new Error('down');
      },
    });
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(6));
    expect(errors).toHaveBeenCalledTimes(1);
  });

  it('waits for the running tick when it stops', async () => {
    let ended = false;
    let begun = false;
    const loop = startLoop({
      tick: async (signal) => {
        begun = true;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        ended = true;
      },
    });
    await vi.waitFor(() => expect(begun).toBe(true));
    await loop.stop();
    expect(ended).toBe(true);
  });
});
