import { controlBlind, type Probe, probeFrom, refuseBlind } from './blind.js';

/**
 * How many requests a runner keeps in flight at one engine: a pure function of state and sample. It follows the
 * engine's own state (what runs, what waits, what was preempted), never latency: continuous batching raises latency
 * with concurrency while throughput still grows. Aim: few requests waiting at the engine, but never none.
 *
 * The rules are those of the design's batching page; where an engine tells nothing of itself, see `blind.ts`.
 */
export const SAMPLE_INTERVAL_MS = 500;
const WINDOW_MAX = 1_024;
const WINDOW_MIN = 8;
/** Where the search starts at an engine that tells nothing. */
const START_LEVEL = 16;
/** Tokens of an item, before any has been seen: input and output. */
const EXPECTED_ITEM_TOKENS = 768;
const DEFAULT_MAX_SEQUENCES = 256;
const COOLDOWN_MS = 2_000;
/** Share of our ceiling that we keep however many others wait. */
const YIELD_FLOOR = 0.1;
/** Requests that we add at a time beside others. */
const SHARED_STEP = 8;
/** How long it is remembered that memory ran out, and what counts as close to it. */
const PRESSURE_MEMORY_MS = 60_000;
const PRESSURE_NEAR = 0.9;
const MIN_STRIDE = 0.01;
const MAX_STRIDE = 0.02;
/** What was taken off the window leaves the engine only as requests end: preemptions in this time call for no more. */
const SHRINK_INTERVAL_MS = 2 * SAMPLE_INTERVAL_MS;
const COUNTING_MS = 1_000;
/**
 * vLLM writes its gauges at the end of a step, when what ended is out and what waits is not yet in; then they stand
 * still for a step, which takes seconds where long prompts come in or the engine is slow. So a moment's `running` says
 * little, and for so long the most that ran lately is what counts.
 */
const RUNNING_MEMORY_MS = 10_000;
/** Below this share of our requests in the gauges, the engine has not counted yet what we sent. */
const COUNTED_SHARE = 0.75;
/** Samples older than this many intervals say nothing. */
const STALE_INTERVALS = 3;

/** What an engine says of itself. */
export interface EngineGauges {
  readonly running: number;
  readonly waiting: number;
  /** Preemptions since the engine started. */
  readonly preemptions: number;
  /** Tokens that its KV cache holds; `null` when it does not say. */
  readonly kvTokens: number | null;
  /** Requests that it runs at once; `null` when it does not say. */
  readonly slots: number | null;
}

export interface WindowSample {
  readonly nowMs: number;
  /** The newest gauges and when they were read; `null` when the engine has none. */
  readonly gauges: EngineGauges | null;
  readonly gaugesAtMs: number;
  /** Our requests at the engine now. */
  readonly inFlight: number;
  /** Since the last sample: requests answered, tokens in their answers (or requests, where no tokens are told). */
  readonly completions: number;
  readonly outputTokens: number;
  /** Since the last sample: answers 429 or 503, the longest hint among them, and requests that timed out. */
  readonly rejections: number;
  readonly retryAfterMs: number | null;
  readonly timeouts: number;
  /** Input and output tokens of an item, so far as known. */
  readonly itemTokens: number | null;
  /** Time that a small request takes to the engine and back. */
  readonly roundTripMs: number;
  /** Requests that the engine runs at once, when we were told; its own word counts more. */
  readonly maxSequences: number | null;
  /** Places to be left to traffic that is not ours; 0: the engine is ours alone. */
  readonly reserve: number;
  /** Requests at the engine that were not ours when the gauges were read. */
  readonly foreign: number;
}

export interface WindowState {
  /** Fractional: the window is its integer part. */
  readonly limit: number;
  readonly mode: 'slow_start' | 'steady' | 'backoff';
  /** No raise before this. */
  readonly cooldownUntilMs: number;
  readonly raisedAtMs: number;
  readonly shrunkAtMs: number;
  /** Where a window that was shrunk goes back to quickly. */
  readonly recoverTo: number;
  readonly preemptions: number;
  /** The window that was too much for the engine's memory, and when. */
  readonly pressure: number;
  readonly pressureAtMs: number;
  /** Share by which it grows close to that; doubles with each step that brings no preemption. */
  readonly stride: number;
  /** The most that ran at once lately, and when. */
  readonly ran: number;
  readonly ranAtMs: number;
  /** What the last gauges said. */
  readonly waiting: number;
  readonly sampledAtMs: number;
  /** Refusals and answers of about the last second. */
  readonly refusals: number;
  readonly answers: number;
  readonly countedAtMs: number;
  /** False until the first gauges were used. */
  readonly informed: boolean;
  /** The search of an engine without gauges. */
  readonly probe: Probe;
}

export const windowOf = (state: WindowState): number => Math.max(1, Math.floor(state.limit));

/** True while the window is searched for by what is answered: then each answer is a reason for a step. */
export const searches = (state: WindowState): boolean => !state.informed && state.probe.mode !== 'settled';

/** The window before anything is known. */
export function initialWindow(nowMs: number): WindowState {
  const probe = probeFrom(START_LEVEL, nowMs);
  return {
    limit: probe.level,
    mode: 'slow_start',
    cooldownUntilMs: 0,
    raisedAtMs: nowMs,
    shrunkAtMs: Number.NEGATIVE_INFINITY,
    recoverTo: 0,
    preemptions: 0,
    pressure: 0,
    pressureAtMs: Number.NEGATIVE_INFINITY,
    stride: MIN_STRIDE,
    ran: 0,
    ranAtMs: Number.NEGATIVE_INFINITY,
    waiting: 0,
    sampledAtMs: nowMs,
    refusals: 0,
    answers: 0,
    countedAtMs: nowMs,
    informed: false,
    probe,
  };
}

/** The next state. Called every `SAMPLE_INTERVAL_MS` and whenever an engine refuses. */
export function control(state: WindowState, sample: WindowSample): WindowState {
  const next = controlled(state, sample);
  if (sample.reserve === 0) return next;
  return { ...next, limit: Math.min(next.limit, sharedCeiling(sample)) };
}

/** The most that we may hold at an engine that others use as well: what is left beside the reserve. */
function sharedCeiling({ gauges, maxSequences, reserve }: WindowSample): number {
  return Math.max(1, (gauges?.slots ?? maxSequences ?? DEFAULT_MAX_SEQUENCES) - reserve);
}

function controlled(state: WindowState, sample: WindowSample): WindowState {
  const { gauges } = sample;
  const next = counted({ ...state, sampledAtMs: sample.nowMs }, sample);
  if (sample.rejections > 0) return state.informed ? refused(next, sample) : refusedBlind(next, sample);
  const fresh = gauges !== null && sample.nowMs - sample.gaugesAtMs <= STALE_INTERVALS * SAMPLE_INTERVAL_MS;
  if (!fresh) return state.informed && gauges !== null ? next : blind(next, sample);
  const seen = {
    ...next,
    ...ranLately(next, gauges.running, sample.nowMs),
    preemptions: gauges.preemptions,
    waiting: gauges.waiting,
  };
  if (!state.informed)
    return { ...seen, informed: true, limit: firstLimit(gauges, sample), raisedAtMs: sample.nowMs };
  return steer(
    seen,
    sample,
    gauges,
    { preempted: gauges.preemptions - state.preemptions, waitedBefore: state.waiting },
    sample.nowMs - state.sampledAtMs,
  );
}

function counted(state: WindowState, sample: WindowSample): WindowState {
  // Halved every second: what was long ago counts ever less.
  const fade = sample.nowMs - state.countedAtMs >= COUNTING_MS;
  const kept = fade ? 0.5 : 1;
  return {
    ...state,
    refusals: kept * state.refusals + sample.rejections,
    answers: kept * state.answers + sample.completions,
    countedAtMs: fade ? sample.nowMs : state.countedAtMs,
  };
}

function ranLately(state: WindowState, running: number, nowMs: number): Pick<WindowState, 'ran' | 'ranAtMs'> {
  const forgotten = nowMs - state.ranAtMs > RUNNING_MEMORY_MS;
  return forgotten || running >= state.ran
    ? { ran: running, ranAtMs: nowMs }
    : { ran: state.ran, ranAtMs: state.ranAtMs };
}

/** What fits in the KV cache, or a little more than the slots. */
function firstLimit(gauges: EngineGauges, sample: WindowSample): number {
  // Beside others we come in slowly: many prompts at once would hold up theirs.
  if (sample.reserve > 0) return START_LEVEL;
  if (gauges.slots !== null) return gauges.slots + spareFor(gauges.slots);
  if (gauges.kvTokens === null) return Math.min(64, sample.maxSequences ?? 64);
  const fits = gauges.kvTokens / (sample.itemTokens ?? EXPECTED_ITEM_TOKENS);
  return clamp(fits, WINDOW_MIN, sample.maxSequences ?? DEFAULT_MAX_SEQUENCES);
}

/**
 * Requests kept waiting at an engine whose slots are known. Few: llama.cpp's HTTP threads are hardly more than its
 * slots, and with all of them waiting it answers neither `/metrics` nor `/health`.
 */
const spareFor = (slots: number): number => Math.max(2, Math.ceil(slots / 4));

function steer(
  state: WindowState,
  sample: WindowSample,
  gauges: EngineGauges,
  { preempted, waitedBefore }: { preempted: number; waitedBefore: number },
  elapsedMs: number,
): WindowState {
  const { nowMs, inFlight, roundTripMs } = sample;
  const perMs = sample.completions / Math.max(1, elapsedMs);
  // Little's law: what ends while an answer and its successor travel.
  const target = Math.max(4, Math.ceil(0.05 * gauges.running), Math.ceil(1.5 * perMs * (roundTripMs + 5)));
  const stalenessMs = nowMs - sample.gaugesAtMs;
  // What waits there or was preempted is not ours: it says nothing of how many of ours are too many.
  if (inFlight === 0 && sample.completions === 0 && sample.reserve === 0) return state;
  if (preempted > 0.02 * sample.completions && preempted > 0) {
    if (state.mode === 'backoff' && nowMs - state.shrunkAtMs < SHRINK_INTERVAL_MS) return state;
    const limit = Math.min(state.limit, inFlight) - Math.max(1, 0.05 * gauges.running);
    const pressed = { ...state, pressure: state.limit, pressureAtMs: nowMs, stride: MIN_STRIDE };
    return shrunk(pressed, nowMs, limit, 6 * SAMPLE_INTERVAL_MS + stalenessMs);
  }
  if (sample.reserve > 0 && gauges.waiting > target && sample.foreign > 0) return yielded(state, sample);
  if (gauges.waiting > 2 * target) {
    // Just arrived, or being admitted: after a pause all prompts come at once, and none of them is too many.
    if (waitedBefore <= 2 * target || gauges.waiting < 0.9 * waitedBefore) return state;
    const running = Math.min(inFlight, state.ran);
    const needed = Math.min(state.limit, running + target + perMs * roundTripMs);
    return { ...state, mode: 'steady', limit: Math.max(1, state.limit / 2, needed) };
  }
  const full = inFlight >= Math.floor(state.limit) - 1;
  const rested =
    nowMs >= state.cooldownUntilMs && nowMs - state.raisedAtMs > stalenessMs + SAMPLE_INTERVAL_MS / 2;
  // What came in during a step waits for the next one: a few waiting are as good as none.
  const queued = gauges.waiting > target / 2;
  // More on top of what it has not even counted would be a guess; but its gauges may be those of one of several.
  const uncounted =
    gauges.running + gauges.waiting < COUNTED_SHARE * inFlight &&
    nowMs - state.raisedAtMs < RUNNING_MEMORY_MS;
  if (queued || uncounted || !full || !rested)
    return gauges.waiting > 0 ? { ...state, mode: 'steady' } : state;
  const slots = gauges.slots ?? sample.maxSequences;
  return raised(state, sample, slots === null ? WINDOW_MAX : slots + spareFor(slots));
}

/** Others wait behind what is ours: make way, but never stop altogether. */
function yielded(state: WindowState, sample: WindowSample): WindowState {
  const floor = Math.max(1, YIELD_FLOOR * sharedCeiling(sample));
  const limit = Math.max(floor, 0.7 * state.limit);
  return {
    ...state,
    mode: 'steady',
    limit: Math.min(state.limit, limit),
    cooldownUntilMs: sample.nowMs + COOLDOWN_MS,
  };
}

function raised(state: WindowState, sample: WindowSample, ceiling: number): WindowState {
  const limit = Math.max(state.limit, Math.min(ceiling, grown(state, sample)));
  const mode = state.mode === 'backoff' && limit >= state.recoverTo ? 'steady' : state.mode;
  return { ...state, mode, limit, stride: Math.min(MAX_STRIDE, 2 * state.stride), raisedAtMs: sample.nowMs };
}

function grown(state: WindowState, sample: WindowSample): number {
  const { limit, mode, recoverTo, pressure } = state;
  if (sample.reserve > 0) return limit + SHARED_STEP;
  const pressed = sample.nowMs - state.pressureAtMs < PRESSURE_MEMORY_MS;
  // Close to where memory ran out it feels its way, or it would run out again every few seconds.
  if (pressed && limit >= PRESSURE_NEAR * pressure) return (1 + state.stride) * limit + 1;
  const ends = [
    ...(pressed ? [PRESSURE_NEAR * pressure] : []),
    ...(mode !== 'slow_start' && limit < recoverTo ? [recoverTo] : []),
  ];
  const quick = mode === 'slow_start' || limit < recoverTo;
  return Math.min(quick ? 2 * limit : Math.ceil(1.25 * limit) + 1, ...ends);
}

/**
 * 429 or 503, at most one step down for each round of requests. An engine that refuses most of them has too many, and
 * is left alone for a while. One that takes most has room for what it holds now: a refusal shows only that one more was
 * too many, and the refused item itself waits as it was told.
 */
function refused(state: WindowState, sample: WindowSample): WindowState {
  const { nowMs } = sample;
  const early = nowMs - state.shrunkAtMs < Math.max(SAMPLE_INTERVAL_MS, 2 * sample.roundTripMs);
  if (state.answers > state.refusals) {
    const limit = Math.max(0.7 * state.limit, Math.min(state.limit, sample.inFlight));
    const mode = state.mode === 'slow_start' ? 'steady' : state.mode;
    return early ? state : { ...state, mode, limit, shrunkAtMs: nowMs };
  }
  const cooldownUntilMs = nowMs + Math.min(sample.retryAfterMs ?? COOLDOWN_MS, 10_000);
  const withCooldown = { ...state, cooldownUntilMs: Math.max(state.cooldownUntilMs, cooldownUntilMs) };
  if (early) return withCooldown;
  return shrunk(withCooldown, nowMs, 0.7 * state.limit, cooldownUntilMs - nowMs);
}

function shrunk(state: WindowState, nowMs: number, limit: number, cooldownMs: number): WindowState {
  const recoverTo = state.mode === 'backoff' ? state.recoverTo : 0.9 * state.limit;
  const cooldownUntilMs = Math.max(state.cooldownUntilMs, nowMs + cooldownMs);
  return {
    ...state,
    mode: 'backoff',
    limit: Math.max(1, limit),
    cooldownUntilMs,
    shrunkAtMs: nowMs,
    recoverTo,
    probe: probeFrom(Math.max(1, limit), cooldownUntilMs),
  };
}

function blind(state: WindowState, sample: WindowSample): WindowState {
  // An engine that fell silent keeps the window it had.
  const before = state.informed ? probeFrom(state.limit, sample.nowMs) : state.probe;
  return probing(state, controlBlind(before, sample));
}

const refusedBlind = (state: WindowState, sample: WindowSample): WindowState =>
  probing(state, refuseBlind(state.probe, sample, state));

const probing = (state: WindowState, probe: Probe): WindowState => ({
  ...state,
  informed: false,
  probe,
  limit: Math.min(WINDOW_MAX, probe.level),
});

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));
