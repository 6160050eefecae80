import { nativeLine } from '@batch-infer/contracts';
import type { Result } from '../../jobs/results.js';
import { toChunks } from '../result-chunks.js';

/** Batches of results as NDJSON bytes of the native API; engine bodies pass through untouched. */
export const toResultLines = (batches: AsyncIterable<readonly Result[]>): AsyncGenerator<Buffer> =>
  toChunks(batches, ({ item, cursor }) => nativeLine(item, cursor));
