import type { WindowSample } from './controller.js';

/**
 * The window at an engine that says nothing of itself: double while more requests in flight give more answers, then
 * keep somewhat more than the last level that gained, and look again now and then. Answers per second are compared,
 * never latencies.
 */
export interface Probe {
  readonly mode: 'doubling' | 'settled';
  readonly level: number;
  /** The best rate seen while doubling, and its level. */
  readonly goodRate: number;
  readonly goodLevel: number;
  readonly sinceMs: number;
  readonly completions: number;
  readonly tokens: number;
  /** True when the level was ever reached since it was set. */
  readonly filled: boolean;
}

const GAIN = 1.1;
const HEADROOM = 1.5;
const PROBE_AGAIN_MS = 60_000;
const MIN_PERIOD_MS = 500;
const MAX_LEVEL = 1_024;

const atLevel = (probe: Probe, level: number, nowMs: number): Probe => ({
  ...probe,
  level: Math.max(1, Math.min(MAX_LEVEL, level)),
  sinceMs: nowMs,
  completions: 0,
  tokens: 0,
  filled: false,
});

/** A search that starts at `level`, not before `fromMs`. */
export const probeFrom = (level: number, fromMs: number): Probe => ({
  mode: 'doubling',
  level,
  goodRate: 0,
  goodLevel: level,
  sinceMs: fromMs,
  completions: 0,
  tokens: 0,
  filled: false,
});

export function controlBlind(probe: Probe, sample: WindowSample): Probe {
  const { nowMs } = sample;
  // A time-out is no latency signal: an engine that lets requests die has too many of them.
  if (sample.timeouts > 0 && sample.timeouts > 0.1 * sample.completions) {
    return { ...atLevel(probe, probe.level * 0.7, nowMs), mode: 'settled', goodLevel: probe.level * 0.7 };
  }
  const seen: Probe = {
    ...probe,
    completions: probe.completions + sample.completions,
    tokens: probe.tokens + sample.outputTokens,
    filled: probe.filled || sample.inFlight >= probe.level - 1,
  };
  const elapsedMs = nowMs - seen.sinceMs;
  if (seen.mode === 'settled') {
    if (elapsedMs < PROBE_AGAIN_MS) return seen;
    return { ...atLevel(seen, seen.level, nowMs), mode: 'doubling', goodRate: 0 };
  }
  // Too little to judge: a whole turn of the window has to have been answered, and the window been full.
  if (!seen.filled || elapsedMs < MIN_PERIOD_MS || seen.completions < seen.level) return seen;
  const rate = (seen.tokens > 0 ? seen.tokens : seen.completions) / elapsedMs;
  if (rate > seen.goodRate * GAIN && seen.level < MAX_LEVEL) {
    return { ...atLevel(seen, seen.level * 2, nowMs), goodRate: rate, goodLevel: seen.level };
  }
  return { ...atLevel(seen, seen.goodLevel * HEADROOM, nowMs), mode: 'settled' };
}
