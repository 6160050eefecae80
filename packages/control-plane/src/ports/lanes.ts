/** Marks jobs of plain requests (`/v1/chat/completions` and the like), so that they are found among the others. */
export const SYNC_LANE_METADATA = { key: 'x_batch_infer_lane', value: 'sync' } as const;
