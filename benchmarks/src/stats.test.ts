import { describe, expect, it } from 'vitest';
import { estimate, median, quantile, seededRandom } from './stats.ts';

describe('a quantile', () => {
  it('lies between its neighbours', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([1, 2, 3], 0)).toBe(1);
    expect(quantile([1, 2, 3], 1)).toBe(3);
    expect(quantile([10, 20], 0.25)).toBe(12.5);
  });

  it('leaves the values as they were', () => {
    const values = [3, 1, 2];
    expect(median(values)).toBe(2);
    expect(values).toEqual([3, 1, 2]);
  });

  it('is refused without values', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('an estimate', () => {
  it('shows the range of few values', () => {
    expect(estimate([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3, interval: 'range', count: 3 });
  });

  it('shows an interval around the median of many', () => {
    const random = seededRandom(7);
    const values = Array.from({ length: 40 }, () => 10 + random());
    const { median: middle, low, high, interval } = estimate(values);
    expect(interval).toBe('95 %');
    expect(low).toBeLessThanOrEqual(middle);
    expect(high).toBeGreaterThanOrEqual(middle);
    expect(low).toBeGreaterThan(Math.min(...values));
    expect(high).toBeLessThan(Math.max(...values));
  });

  it('is the same for the same values', () => {
    const values = [5, 9, 2, 7, 8, 1];
    expect(estimate(values)).toEqual(estimate(values));
  });

  it('covers the true median in about 95 of 100 samples', () => {
    const random = seededRandom(1);
    const covered = Array.from({ length: 200 }, () => {
      const { low, high } = estimate(Array.from({ length: 15 }, random));
      return low <= 0.5 && 0.5 <= high;
    });
    expect(covered.filter(Boolean).length).toBeGreaterThan(175);
  });
});
