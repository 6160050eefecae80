/** What a choice needs to know of an engine. */
export interface PickableEngine {
  readonly free: number;
  readonly load: { readonly inFlight: number };
  serves(model: string): boolean;
}

/**
 * The engine for the next item of a model: the one with the least outstanding among those that have room, the earlier
 * one at a tie; `null` when none has. Where affinity by prompt prefix and stealing between engines will go.
 */
export function pickEngine<E extends PickableEngine>(engines: readonly E[], model: string): E | null {
  let best: E | null = null;
  for (const engine of engines) {
    if (engine.free <= 0 || !engine.serves(model)) continue;
    if (best === null || engine.load.inFlight < best.load.inFlight) best = engine;
  }
  return best;
}
