import { describe, expect, test, vi } from 'vitest';
import { type Course, type Fault, runVirtually, type Scenario } from '../test/virtual-runner.js';

// Seconds of computing, many times that on a machine with other work.
vi.setConfig({ testTimeout: 120_000 });

const SEEDS = Array.from({ length: 10 }, (_, index) => index + 1);

/** Output lengths between two bounds, different for each index and seed. */
const lengths = (seed: number, low: number, high: number) => (index: number) =>
  low + (((index + 1) * 7_919 * (seed + 13)) % (high - low + 1));

const evenJob = (seed: number, items = 2_000): Scenario => ({
  ...{ seed, items, promptTokens: 256, outputTokens: lengths(seed, 200, 400), window: 'steered' },
});

const memoryBound = (seed: number): Scenario => ({
  ...{ seed, items: 1_200, promptTokens: 512, outputTokens: lengths(seed, 200, 400), window: 'steered' },
  engine: { numGpuBlocks: 4_096 },
});

/** How far the window moves in the second half of a run, its end left out. */
function swing({ windows }: Course): number {
  const steady = windows.slice(Math.floor(windows.length / 2), -5);
  return Math.max(...steady) / Math.min(...steady);
}

/** Sequences that run at once, averaged over the steps of a time. */
function runningBetween({ log }: Course, fromMs: number, untilMs: number): number {
  const counts = log.flatMap((line) => {
    const [, atMs, sequences] = /^(\S+) step .*sequences=(\d+)/.exec(line) ?? [];
    const inside = atMs !== undefined && Number(atMs) >= fromMs && Number(atMs) < untilMs;
    return inside ? [Number(sequences)] : [];
  });
  return counts.reduce((sum, count) => sum + count, 0) / counts.length;
}

const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((left, right) => left - right)[Math.floor(values.length * share)] ?? Number.NaN;

describe.each(SEEDS)('a whole job in virtual time, seed %i', (seed) => {
  test('A: an even job takes no longer than sending everything at once, and the window settles', () => {
    const everything = runVirtually({ ...evenJob(seed), window: null });
    const steered = runVirtually(evenJob(seed));
    expect(steered.makespanMs / everything.makespanMs).toBeLessThanOrEqual(1.02);
    expect(swing(steered)).toBeLessThan(1.2);
  });

  test('B: a job that is bound by KV memory takes less time, is preempted less, and the window does not swing', () => {
    const everything = runVirtually({ ...memoryBound(seed), window: null });
    const steered = runVirtually(memoryBound(seed));
    expect(steered.makespanMs / everything.makespanMs).toBeLessThanOrEqual(1);
    expect(steered.preemptions).toBeLessThan(everything.preemptions / 2);
    expect(swing(steered)).toBeLessThan(1.35);
  });

  test('beside other traffic, with a reserve, that gets its first token in 0.2 s, and we lose little', () => {
    const foreign = { perSecond: 4, promptTokens: 256, outputTokens: 100 };
    const shared = { ...evenJob(seed), outputTokens: lengths(seed, 100, 200), foreign };
    const greedy = runVirtually(shared);
    const polite = runVirtually({ ...shared, reserve: 64 });
    expect(percentile(greedy.foreignFirstTokenMs, 0.99)).toBeGreaterThan(1_000);
    expect(percentile(polite.foreignFirstTokenMs, 0.99)).toBeLessThanOrEqual(200);
    expect(polite.makespanMs / greedy.makespanMs).toBeLessThan(1.12);
  });

  test('the same seed gives the same course, byte for byte', () => {
    const fault: Fault = { kind: 'refusing', fromMs: 5_000, untilMs: 6_000 };
    const log = () => runVirtually({ ...evenJob(seed, 800), faults: [fault] }).log.join('\n');
    expect(log()).toBe(log());
  });

  test.each<Fault['kind']>([
    ...(['refusing', 'dead', 'aborting', 'hanging', 'slow', 'garbage'] as const),
    ...(['far', 'crowded', 'stale', 'lying', 'half_kv'] as const),
  ])('ten samples after the engine was %s it is as fast as if nothing had been', (kind) => {
    const memory = kind === 'half_kv' ? { engine: { numGpuBlocks: 8_192 } } : {};
    const job = {
      ...evenJob(seed, 4_000),
      outputTokens: lengths(seed, 100, 200),
      untilMs: 31_500,
      ...memory,
    };
    const disturbed = runVirtually({ ...job, faults: [{ kind, fromMs: 20_000, untilMs: 23_000 }] });
    const before = runningBetween(disturbed, 15_000, 20_000);
    expect(runningBetween(disturbed, 28_000, 31_500) / before).toBeGreaterThanOrEqual(0.95);
  });
});

describe('the window at other engines', () => {
  test('a way of 200 ms to the engine costs little', () => {
    const everything = runVirtually({ ...evenJob(1), window: null, roundTripMs: 200 });
    const steered = runVirtually({ ...evenJob(1), roundTripMs: 200 });
    expect(steered.makespanMs / everything.makespanMs).toBeLessThan(1.03);
  });

  test('a window of 16 is several times slower: steering is worth it', () => {
    const job = evenJob(1, 1_000);
    const fixed = runVirtually({ ...job, window: 16 });
    expect(fixed.makespanMs).toBeGreaterThan(2 * runVirtually(job).makespanMs);
  });

  test('one that tells nothing is found out by what it brings, within a factor of sending everything', () => {
    const everything = runVirtually({ ...evenJob(1, 6_000), window: null });
    const blind = runVirtually({ ...evenJob(1, 6_000), window: 'blind' });
    expect(blind.makespanMs / everything.makespanMs).toBeLessThan(1.6);
  });
});
