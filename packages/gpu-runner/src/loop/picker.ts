/** What a choice needs to know of an engine. */
export interface PickableEngine {
  readonly free: number;
  readonly load: { readonly inFlight: number; readonly outstandingTokens: number };
  serves(model: string): boolean;
}

/**
 * The engine for the next item of a model: among those that have room, the one with the fewest tokens outstanding, then
 * with the fewest requests, then the earlier one; `null` when none has room. Which item it gets is the queue's to say.
 */
export function pickEngine<E extends PickableEngine>(engines: readonly E[], model: string): E | null {
  let best: E | null = null;
  for (const engine of engines) {
    if (engine.free <= 0 || !engine.serves(model)) continue;
    if (best === null || isLess(engine.load, best.load)) best = engine;
  }
  return best;
}

const isLess = (left: PickableEngine['load'], right: PickableEngine['load']): boolean =>
  left.outstandingTokens === right.outstandingTokens
    ? left.inFlight < right.inFlight
    : left.outstandingTokens < right.outstandingTokens;
