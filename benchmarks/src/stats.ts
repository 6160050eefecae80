/** A middle and how sure it is. */
export interface Estimate {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** `95 %`: bootstrap interval of the median. `range`: smallest and largest, of fewer than five values. */
  readonly interval: '95 %' | 'range';
  readonly count: number;
}

const RESAMPLES = 2_000;
const FEWEST_FOR_BOOTSTRAP = 5;

/**
 * The value below which a share of the values lies, with linear interpolation between neighbours.
 * @throws {RangeError} without values.
 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  if (below === undefined || above === undefined) throw new RangeError('a quantile needs at least one value');
  return below + (above - below) * (place - Math.floor(place));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/**
 * Median with a percentile bootstrap interval (B. Efron, 1979). The resampling is seeded: the same values give the
 * same interval.
 */
export function estimate(values: readonly number[]): Estimate {
  const count = values.length;
  const middle = median(values);
  if (count < FEWEST_FOR_BOOTSTRAP) {
    return { median: middle, low: Math.min(...values), high: Math.max(...values), interval: 'range', count };
  }
  const random = seededRandom(count);
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(values.map(() => values[Math.floor(random() * count)] ?? middle)),
  );
  return {
    median: middle,
    low: quantile(medians, 0.025),
    high: quantile(medians, 0.975),
    interval: '95 %',
    count,
  };
}

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
