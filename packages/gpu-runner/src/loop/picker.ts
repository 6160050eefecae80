import type { Target } from '../engine/prober.js';

/** What a choice needs to know of an engine. */
export interface PickableEngine {
  readonly load: { readonly inFlight: number; readonly outstandingTokens: number };
  roomFor(target: Target): number;
}

/**
 * The engine for the next item of a route and model: among those that have room, the one with the fewest tokens outstanding, then
 * with the fewest requests, then the earlier one; `null` when none has room. Which item it gets is the queue's to say.
 */
export function pickEngine<E extends PickableEngine>(engines: readonly E[], target: Target): E | null {
  let best: E | null = null;
  for (const engine of engines) {
    if (engine.roomFor(target) <= 0) continue;
    if (best === null || isLess(engine.load, best.load)) best = engine;
  }
  return best;
}

const isLess = (left: PickableEngine['load'], right: PickableEngine['load']): boolean =>
  left.outstandingTokens === right.outstandingTokens
    ? left.inFlight < right.inFlight
    : left.outstandingTokens < right.outstandingTokens;
