import { setTimeout as delay } from 'node:timers/promises';
import { JsonClient, multipartUpload } from '../harness/http.ts';

/** The part of OpenAI's batch object that is read here. */
export interface Batch {
  readonly id: string;
  readonly status: string;
  readonly output_file_id: string | null;
  readonly error_file_id: string | null;
  readonly request_counts: { readonly total: number; readonly completed: number; readonly failed: number };
}

const ENDED: ReadonlySet<string> = new Set(['completed', 'failed', 'expired', 'cancelled']);
const POLL_INTERVAL_MS = 50;

/** OpenAI's Files and Batches API, as a script would use it. */
export class BatchClient {
  readonly #client: JsonClient;

  constructor(serverUrl: string) {
    this.#client = new JsonClient(serverUrl);
  }

  /** The id of the file. */
  async upload(file: string): Promise<string> {
    const { id } = await this.#client.json<{ id: string }>(
      '/v1/files',
      multipartUpload(file, { purpose: 'batch' }),
    );
    return id;
  }

  create(fileId: string): Promise<Batch> {
    return this.#client.post('/v1/batches', {
      input_file_id: fileId,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
  }

  get(id: string): Promise<Batch> {
    return this.#client.json(`/v1/batches/${id}`);
  }

  list(): Promise<unknown> {
    return this.#client.json('/v1/batches?limit=100');
  }

  cancel(id: string): Promise<Batch> {
    return this.#client.json(`/v1/batches/${id}/cancel`, { method: 'POST' });
  }

  /** Polls every 50 ms. A server that does not answer is asked again: it may be starting. */
  async waitForEnd(id: string): Promise<Batch> {
    for (;;) {
      const batch = await this.get(id).catch((error: unknown) => {
        if (error instanceof Error && 'code' in error) return null;
        throw error;
      });
      if (batch !== null && ENDED.has(batch.status)) return batch;
      await delay(POLL_INTERVAL_MS);
    }
  }

  /** Downloads output and error file; answers the local files. */
  async fetchResults(batch: Batch, prefix: string): Promise<string[]> {
    const wanted = Object.entries({ output: batch.output_file_id, error: batch.error_file_id });
    const files: string[] = [];
    for (const [name, id] of wanted) {
      if (id === null) continue;
      const file = `${prefix}-${name}.jsonl`;
      await this.#client.download(`/v1/files/${id}/content`, file);
      files.push(file);
    }
    return files;
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}
