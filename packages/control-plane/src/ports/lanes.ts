const KEY = 'x_batch_infer_lane';

/** Marks jobs of plain requests (`/v1/chat/completions` and the like), so that they are found among the others. */
export const SYNC_LANE_METADATA = { key: KEY, value: 'sync' } as const;

/** Marks jobs of background responses. */
export const BACKGROUND_LANE_METADATA = { key: KEY, value: 'background' } as const;

const LANES: ReadonlySet<string | undefined> = new Set([
  SYNC_LANE_METADATA.value,
  BACKGROUND_LANE_METADATA.value,
]);

/** True for the job of a single request: whoever sent it asks for its answer, and its end is no event of a batch. */
export const isOfLane = (metadata: Readonly<Record<string, string>> | undefined): boolean =>
  LANES.has(metadata?.[KEY]);
