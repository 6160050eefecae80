import { createReadStream } from 'node:fs';
import { JsonClient } from '../harness/http.ts';

/** The part of a job that is read here. */
export interface Job {
  readonly id: string;
  readonly status: string;
  readonly phase: string;
}

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

/** The native API: NDJSON in, long poll, NDJSON out. */
export class NativeClient {
  readonly #client: JsonClient;

  constructor(serverUrl: string) {
    this.#client = new JsonClient(serverUrl);
  }

  submitFile(file: string): Promise<Job> {
    return this.#client.json('/v1/jobs', {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: createReadStream(file, { highWaterMark: 1 << 18 }),
    });
  }

  /** `request`: one `input`, or inline `items`. */
  submit(request: Readonly<Record<string, unknown>>): Promise<Job> {
    return this.#client.post('/v1/jobs', { endpoint: '/v1/chat/completions', ...request });
  }

  get(id: string): Promise<Job> {
    return this.#client.json(`/v1/jobs/${id}`);
  }

  list(): Promise<unknown> {
    return this.#client.json('/v1/jobs?limit=100');
  }

  async waitForEnd(id: string): Promise<Job> {
    for (;;) {
      const job = await this.#client.json<Job>(`/v1/jobs/${id}?wait=30`);
      if (ENDED.has(job.status)) return job;
    }
  }

  /** Streams the results, in input order, into a file. */
  async fetchResults(id: string, file: string): Promise<string[]> {
    await this.#client.download(`/v1/jobs/${id}/results`, file);
    return [file];
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}
