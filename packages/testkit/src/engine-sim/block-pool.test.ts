import { describe, expect, it } from 'vitest';
import { BlockPool } from './block-pool.js';

describe('BlockPool', () => {
  it('takes the block released longest ago first', () => {
    const pool = new BlockPool(3);
    const [first, second, third] = [pool.take(), pool.take(), pool.take()];
    pool.release([second]);
    pool.release([third]);
    pool.release([first]);
    expect([pool.take(), pool.take(), pool.take()]).toEqual([second, third, first]);
  });

  it('keeps the content of a released block until the block is taken again', () => {
    const pool = new BlockPool(2);
    const block = pool.take();
    pool.publish(block, 11);
    pool.release([block]);
    expect(pool.match([11], 1)).toEqual({ cached: 1, cachedFree: 1 });
    pool.take();
    pool.take();
    expect(pool.match([11], 1)).toEqual({ cached: 0, cachedFree: 0 });
  });

  it('frees a shared block only when the last holder gives it back', () => {
    const pool = new BlockPool(2);
    const block = pool.take();
    pool.publish(block, 11);
    pool.share(11);
    pool.release([block]);
    expect(pool.usedBlocks).toBe(1);
    pool.release([block]);
    expect(pool.usedBlocks).toBe(0);
  });

  it('forgets the tail of a prompt before its head', () => {
    const pool = new BlockPool(3);
    const blocks = [pool.take(), pool.take(), pool.take()];
    blocks.forEach((block, index) => {
      pool.publish(block, index + 1);
    });
    pool.release(blocks);
    pool.take();
    expect(pool.match([1, 2, 3], 3).cached).toBe(2);
  });

  it('matches leading blocks only, up to the limit', () => {
    const pool = new BlockPool(3);
    for (const hash of [1, 2, 3]) pool.publish(pool.take(), hash);
    expect(pool.match([1, 2, 3], 2).cached).toBe(2);
    expect(pool.match([9, 2, 3], 3).cached).toBe(0);
  });

  it('counts withheld blocks as not free', () => {
    const pool = new BlockPool(4);
    pool.withhold(3);
    expect(pool.freeBlocks).toBe(1);
    pool.take();
    pool.take();
    expect(pool.freeBlocks).toBe(-1);
    pool.withhold(0);
    expect(pool.freeBlocks).toBe(2);
  });

  it('refuses to take from nothing and to share what is not cached', () => {
    const pool = new BlockPool(1);
    pool.take();
    expect(() => pool.take()).toThrow(RangeError);
    expect(() => pool.share(5)).toThrow(RangeError);
  });
});
