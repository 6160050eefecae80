import { afterEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../telemetry/logger.js';
import { Loop, type LoopOptions } from './loop.js';
import { reportProgress } from './progress.js';

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

  it('leaves a tick behind that hangs, tells it, and begins the next', async () => {
    let ticks = 0;
    const aborted: unknown[] = [];
    const outcomes: string[] = [];
    const logger = silentLogger();
    const errors = vi.spyOn(logger, 'error');
    startLoop({
      intervalMs: 1,
      maxBackoffMs: 1,
      silenceLimitMs: 20,
      logger,
      onTick: (outcome) => outcomes.push(outcome),
      tick: async (signal) => {
        ticks += 1;
        if (ticks > 1) return;
        signal.addEventListener('abort', () => aborted.push(signal.reason));
        await new Promise(() => {});
      },
    });
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(2));
    expect(aborted).toEqual([expect.objectContaining({ name: 'TickAbandonedError' })]);
    expect(outcomes.slice(0, 2)).toEqual(['failed', 'succeeded']);
    expect(errors.mock.calls[0]?.[0]).toMatchObject({ loop: 'test', error: { name: 'TickAbandonedError' } });
  });

  it('lets a tick take its time that gives signs of life', async () => {
    vi.useFakeTimers();
    try {
      const outcomes: string[] = [];
      startLoop({
        onTick: (outcome) => outcomes.push(outcome),
        tick: async () => {
          for (let sign = 0; sign < 4; sign += 1) {
            await new Promise((resolve) => setTimeout(resolve, 40_000));
            reportProgress();
          }
        },
      });
      await vi.advanceTimersByTimeAsync(159_000);
      expect(outcomes).toEqual([]);
      await vi.advanceTimersByTimeAsync(2_000);
      expect(outcomes).toEqual(['succeeded']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('never runs more than a few ticks at once, and says that it hangs until one of them ends', async () => {
    const ends: (() => void)[] = [];
    let isHanging = true;
    const loop = startLoop({
      intervalMs: 1,
      maxBackoffMs: 1,
      silenceLimitMs: 10,
      tick: async () => {
        if (isHanging) await new Promise<void>((resolve) => ends.push(resolve));
      },
    });
    await vi.waitFor(() => expect(loop.hungForMs()).toBeGreaterThan(200));
    expect(ends).toHaveLength(2);
    isHanging = false;
    ends[0]?.();
    await vi.waitFor(() => expect(loop.hungForMs()).toBe(0));
  });
});
