import { nativeLine } from '@batch-infer/contracts';
import type { Result } from '../../jobs/results.js';

/** Batches of results as NDJSON bytes of the native API; engine bodies pass through untouched. */
export async function* toResultLines(batches: AsyncIterable<readonly Result[]>): AsyncGenerator<Buffer> {
  for await (const batch of batches) {
    const pieces: Uint8Array[] = [];
    for (const { item, cursor } of batch)
      for (const piece of nativeLine(item, cursor))
        pieces.push(typeof piece === 'string' ? Buffer.from(piece) : piece);
    yield Buffer.concat(pieces);
  }
}
