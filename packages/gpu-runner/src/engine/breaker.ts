import { PATIENCE_MS } from './refusal.js';

/**
 * A circuit breaker as a pure state: `closed` lets all through, `open` nothing, `half_open` a few to see. Whoever holds
 * it applies events; time comes with them.
 */
export type BreakerState =
  | {
      readonly kind: 'closed';
      readonly failures: number;
      /** A request of our own closed it, and no item has been answered since. */
      readonly proved?: true;
    }
  | {
      readonly kind: 'open';
      /** When it is tried again. */
      readonly untilMs: number;
      readonly openedAtMs: number;
      readonly round: number;
      /** True when the engine is gone, as far as its health route and its socket say. */
      readonly dead: boolean;
    }
  | {
      readonly kind: 'half_open';
      readonly openedAtMs: number;
      readonly round: number;
      readonly sinceMs: number;
      /** Items that may still be sent. */
      readonly toSend: number;
    };

export type BreakerEvent =
  /** Any answer that shows a working engine, final refusals among them. */
  | { readonly type: 'success' }
  /** A request of our own was answered, whatever the health route says. */
  | { readonly type: 'proved' }
  /** 5xx, a broken connection or a time-out; with the requests that are still at the engine. */
  | { readonly type: 'failure'; readonly inFlight: number }
  /** Health says that the engine is gone. */
  | { readonly type: 'dead' }
  /** Health says that it is there. */
  | { readonly type: 'alive' }
  | { readonly type: 'sent' }
  /** A half-open item came back without telling anything (aborted, 429). */
  | { readonly type: 'unsettled' };

export const CLOSED: BreakerState = { kind: 'closed', failures: 0 };

const FAILURES_TO_OPEN = 5;
const OPEN_CEILINGS_MS = [500, 1_000, 2_000];
/**
 * An engine that claims to be healthy and fails everything for longer than our patience may be right: then its items are
 * bad. More of them are sent at each trial, so that they come to their own end.
 */
const MAX_TRIAL_ITEMS = 256;
/** A healthy engine that has not failed its trial by then works on it: a long generation must not keep the rest out. */
const TRIAL_MS = 2_000;

/** How many items may be sent now: `Infinity` when closed. */
export function allowance(state: BreakerState): number {
  if (state.kind === 'closed') return Number.POSITIVE_INFINITY;
  return state.kind === 'open' ? 0 : state.toSend;
}

export function applyBreaker(state: BreakerState, event: BreakerEvent, nowMs: number): BreakerState {
  switch (event.type) {
    case 'success':
      return state.kind === 'open' && state.dead ? state : CLOSED;
    case 'proved':
      return { kind: 'closed', failures: 0, proved: true };
    case 'dead':
      return opened(state, nowMs, true);
    case 'alive':
      return revived(state, nowMs);
    case 'failure':
      return failed(state, event.inFlight, nowMs);
    case 'sent':
      return state.kind === 'half_open' ? { ...state, toSend: Math.max(0, state.toSend - 1) } : state;
    case 'unsettled':
      return state.kind === 'half_open' ? { ...state, toSend: state.toSend + 1 } : state;
  }
}

/**
 * Failures in a row open it, when they also outnumber half of what is being worked on: failures come back sooner than
 * answers, so that a few in a row tell little of an engine with many requests at work.
 */
function failed(state: BreakerState, inFlight: number, nowMs: number): BreakerState {
  if (state.kind === 'closed') {
    const failures = state.failures + 1;
    const tooMany = failures >= Math.max(FAILURES_TO_OPEN, inFlight / 2);
    return tooMany ? opened(state, nowMs, false) : { ...state, failures };
  }
  return state.kind === 'half_open' ? opened(state, nowMs, false) : state;
}

function opened(state: BreakerState, nowMs: number, dead: boolean): BreakerState {
  if (state.kind === 'open') return dead && !state.dead ? { ...state, dead } : state;
  const round = state.kind === 'half_open' ? state.round + 1 : 0;
  // An engine that answers us, and then fails items again, fails these: patience would only hold them up.
  const patient = state.kind === 'closed' && state.proved === true && !dead ? PATIENCE_MS : 0;
  const openedAtMs = state.kind === 'half_open' ? state.openedAtMs : nowMs - patient;
  const waitMs = OPEN_CEILINGS_MS[Math.min(round, OPEN_CEILINGS_MS.length - 1)] ?? 0;
  return { kind: 'open', untilMs: nowMs + waitMs, openedAtMs, round, dead };
}

function revived(state: BreakerState, nowMs: number): BreakerState {
  if (state.kind === 'open') return state.dead || nowMs >= state.untilMs ? halfOpened(state, nowMs) : state;
  const passed = state.kind === 'half_open' && state.toSend === 0 && nowMs - state.sinceMs >= TRIAL_MS;
  return passed ? CLOSED : state;
}

function halfOpened(state: BreakerState & { kind: 'open' }, nowMs: number): BreakerState {
  const patientMs = nowMs - state.openedAtMs - PATIENCE_MS;
  const trials = patientMs < 0 ? 1 : Math.min(MAX_TRIAL_ITEMS, 2 ** (1 + Math.floor(patientMs / 2_000)));
  return {
    kind: 'half_open',
    openedAtMs: state.openedAtMs,
    round: state.round,
    sinceMs: nowMs,
    toSend: trials,
  };
}

/** True while what fails is held against the engine: later it may mean what it says. */
export const isYoung = (state: BreakerState, nowMs: number): boolean =>
  state.kind !== 'closed' && nowMs - state.openedAtMs < PATIENCE_MS;
