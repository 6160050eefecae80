import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, openTestApi, type TestApi } from '../api-conformance.js';

interface Line {
  readonly body: Record<string, unknown>;
}

/** The API with a runner that takes what is ready until it is closed, and what its pretended engine says. */
export interface SyncWorld {
  readonly api: TestApi;
  readonly url: string;
  /** `null`: nothing yet. To be set by tests. */
  say: (line: Line) => Answer | null;
  /** What is behind `x-batch-infer-job-id`. */
  jobOf(id: string | null): Promise<Record<string, unknown>>;
  /** Ids of the jobs of a lane. */
  jobIds(lane?: 'sync' | 'background'): Promise<string[]>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<PlainAnswer>;
  close(): Promise<void>;
}

interface PlainAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  json(): ReturnType<typeof JSON.parse>;
}

export const good = (body: unknown): Answer => ({ status: 200, body });

/** @param say what the engine says until a test says otherwise */
export async function openSyncWorld(say: SyncWorld['say']): Promise<SyncWorld> {
  const api = await openTestApi();
  await api.saveRunner(['m']);
  const url = await api.listen();
  let running = true;
  const work = (async () => {
    while (running) {
      const shard = await api.runShard((_, line) => world.say(line as Line));
      if (shard !== null) api.signals.emit('job-changed', shard.jobId);
      await api.finalizer.tick();
      await delay(2);
    }
  })();
  const get = async (path: string) => (await api.fastify.inject({ method: 'GET', url: path })).json();
  const world: SyncWorld = {
    api,
    url,
    say,
    jobOf: (id) => get(`/v1/jobs/${id}`),
    jobIds: async (lane = 'sync') => {
      const { data } = await get(`/v1/jobs?metadata[x_batch_infer_lane]=${lane}`);
      return data.map(({ id }: { id: string }) => id);
    },
    post: async (path, body, headers = {}) => {
      const answer = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) };
    },
    close: async () => {
      running = false;
      await work;
      await api.close();
    },
  };
  return world;
}
