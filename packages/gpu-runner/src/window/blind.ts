import type { WindowSample } from './controller.js';

/**
 * The window at an engine that says nothing of itself: double while more requests in flight give more answers, then
 * keep somewhat more than the last level that gained, and look again now and then. Answers per second are compared,
 * never latencies. A level is judged as soon as a whole turn of it has been answered, so that short answers are not
 * waited for longer than they take.
 */
export interface Probe {
  /** `recovering`: back to `target` after refusals, without comparing rates. */
  readonly mode: 'doubling' | 'recovering' | 'settled';
  readonly level: number;
  /** The best rate seen while doubling, and its level. */
  readonly goodRate: number;
  readonly goodLevel: number;
  /** How long a whole turn of the window takes; 0: not known yet. */
  readonly turnMs: number;
  /** The start of what is measured; before it, nothing is. */
  readonly sinceMs: number;
  readonly completions: number;
  readonly tokens: number;
  /** True while the level is used: only then its rate says something. */
  readonly filled: boolean;
  /** The search has not come to its end; refusals may interrupt it. */
  readonly searching: boolean;
  /** The level at which the refusals of late began; 0: there are none. */
  readonly refusedAt: number;
  readonly target: number;
  readonly shrunkAtMs: number;
}

const GAIN = 1.1;
const HEADROOM = 1.5;
const PROBE_AGAIN_MS = 60_000;
/** A look costs half a turn: no more often than so many turns. */
const PROBE_AGAIN_TURNS = 50;
const MIN_PERIOD_MS = 50;
const MAX_LEVEL = 1_024;
/** Shares of the level in flight at which it counts as used, and no longer. Refills come in bursts. */
const FILLED_SHARE = 0.75;
const EMPTY_SHARE = 0.5;
/** Refusals for each request that was taken, from which on the level is felt to be too much. */
const SPARSE_SHARE = 0.25;
/** It refuses even so little of what it took before: that was no matter of the level. */
const OUTAGE_SHARE = 0.25;
/** How far it then goes back. */
const RETURN_SHARE = 0.9;
const SHRINK_INTERVAL_MS = 100;
const COOLDOWN_MS = 2_000;
const COOLDOWN_MAX_MS = 10_000;

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
  turnMs: 0,
  sinceMs: fromMs,
  completions: 0,
  tokens: 0,
  filled: false,
  searching: true,
  refusedAt: 0,
  target: 0,
  shrunkAtMs: Number.NEGATIVE_INFINITY,
});

const settledAt = (probe: Probe, level: number, nowMs: number): Probe => ({
  ...atLevel(probe, level, nowMs),
  mode: 'settled',
  searching: false,
  refusedAt: 0,
});

export function controlBlind(probe: Probe, sample: WindowSample): Probe {
  const { nowMs, inFlight } = sample;
  // A time-out is no latency signal: an engine that lets requests die has too many of them.
  if (sample.timeouts > 0 && sample.timeouts > 0.1 * sample.completions) {
    const lower = settledAt(probe, probe.level * 0.7, nowMs);
    return { ...lower, goodLevel: lower.level };
  }
  if (nowMs < probe.sinceMs) return probe;
  if (probe.mode === 'settled') {
    if (nowMs - probe.sinceMs < Math.max(PROBE_AGAIN_MS, PROBE_AGAIN_TURNS * probe.turnMs)) return probe;
    // From below the level that gained: it can have been an accident, and the engine smaller by now.
    return { ...atLevel(probe, probe.goodLevel / 2, nowMs), mode: 'doubling', goodRate: 0, searching: true };
  }
  if (!probe.filled) {
    if (inFlight < FILLED_SHARE * probe.level - 1 || inFlight > probe.level) return probe;
    return { ...atLevel(probe, probe.level, nowMs), filled: true };
  }
  // There was not enough work to fill it: what was measured says nothing.
  if (inFlight < EMPTY_SHARE * probe.level - 1) return { ...probe, filled: false };
  const seen: Probe = {
    ...probe,
    completions: probe.completions + sample.completions,
    tokens: probe.tokens + sample.outputTokens,
  };
  if (seen.completions < seen.level) return seen;
  return seen.mode === 'recovering' ? recovered(seen, nowMs) : judged(seen, nowMs);
}

function judged(probe: Probe, nowMs: number): Probe {
  const elapsedMs = nowMs - probe.sinceMs;
  if (elapsedMs < MIN_PERIOD_MS) return probe;
  const rate = (probe.tokens > 0 ? probe.tokens : probe.completions) / elapsedMs;
  if (rate > probe.goodRate * GAIN && probe.level < MAX_LEVEL) {
    const turnMs = (elapsedMs * probe.level) / probe.completions;
    return { ...atLevel(probe, probe.level * 2, nowMs), goodRate: rate, goodLevel: probe.level, turnMs };
  }
  return settledAt(probe, probe.goodLevel * HEADROOM, nowMs);
}

function recovered(probe: Probe, nowMs: number): Probe {
  const level = Math.min(2 * probe.level, probe.target);
  if (level < probe.target) return atLevel(probe, level, nowMs);
  if (probe.searching && level >= RETURN_SHARE * probe.refusedAt) return probeFrom(level, nowMs);
  return { ...settledAt(probe, level, nowMs), goodLevel: Math.max(1, level / HEADROOM) };
}

/**
 * The engine refused. A few refusals say nothing of the level: the refused wait as they were told, the others go on.
 * Where most is refused each refusal takes one away, which ends just where the engine's own limit is.
 * @param refusals refusals of about the last second; `answers` likewise
 */
export function refuseBlind(
  probe: Probe,
  sample: WindowSample,
  { refusals, answers }: { refusals: number; answers: number },
): Probe {
  const { nowMs, inFlight, rejections } = sample;
  const taken = answers + inFlight;
  if (refusals <= SPARSE_SHARE * taken) return controlBlind(probe, sample);
  const refusedAt = Math.max(probe.refusedAt, probe.level);
  const step = { ...probe, refusedAt, shrunkAtMs: nowMs, mode: 'recovering' as const };
  if (refusals <= taken) {
    if (nowMs - probe.shrunkAtMs < SHRINK_INTERVAL_MS) return controlBlind(probe, sample);
    const level = Math.max(refusedAt / 2, probe.level - 1);
    return { ...atLevel(step, level, nowMs), target: level };
  }
  const untilMs = nowMs + Math.min(sample.retryAfterMs ?? COOLDOWN_MS, COOLDOWN_MAX_MS);
  const level = Math.max(1, probe.level - rejections);
  const target = level < OUTAGE_SHARE * refusedAt ? RETURN_SHARE * refusedAt : level;
  return { ...atLevel(step, level, untilMs), target };
}
