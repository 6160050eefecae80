import { join } from 'node:path';
import type { Stack } from '../harness/stack.ts';
import { requireAll } from '../outcomes.ts';
import type { Input } from '../workload.ts';
import { BatchClient } from './batch-client.ts';

/**
 * Milliseconds from the first byte of the upload to the last of the results, over OpenAI's API.
 * @throws when an item is missing, doubled or failed
 */
export async function runBatch(stack: Stack, input: Input): Promise<number> {
  const client = new BatchClient(stack.serverUrl);
  const startedAt = performance.now();
  const { id } = await client.create(await client.upload(input.file));
  const files = await client.fetchResults(await client.waitForEnd(id), join(stack.folder, 'results'));
  const elapsedMs = performance.now() - startedAt;
  await client.close();
  await requireAll(files, input.items);
  return elapsedMs;
}
