/**
 * Lanes that exist at a broker, shared by all control planes: whether a lane takes offers is known only to the one that
 * published last, and asked of all.
 */
export interface OfferLaneLedger {
  /** Offers were published to these lanes, or were refused there: `problem` says why. */
  recordLanes(params: {
    lanes: readonly { readonly lane: string; readonly model: string; readonly problem: string | null }[];
    nowMs: number;
  }): Promise<void>;
  /** Lanes that took no offers when they were last published to, at `seenAfterMs` or later; at most `limit`. */
  listLaneProblems(params: { seenAfterMs: number; limit: number }): Promise<StoredLaneProblem[]>;
  /** Models of which no lane had offers since `usedBeforeMs`, those that waited longest first. */
  listIdleLanes(params: { usedBeforeMs: number; limit: number }): Promise<string[]>;
  forgetLanes(params: { model: string }): Promise<void>;
}

export interface StoredLaneProblem {
  /** `<priority>/<model>`. */
  readonly lane: string;
  readonly model: string;
  readonly reason: string;
  readonly sinceMs: number;
}
