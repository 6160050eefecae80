import { randomUUID } from 'node:crypto';
import { type CommitCut, type PostgresCutProxy, startPostgresCutProxy } from '@batch-infer/testkit';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answered, broken, openTestApi, type TestApi } from './http/api-conformance.js';
import type { JobRecord } from './ports/records.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'commits whose answer is lost');

/** Each route's and loop's every COMMIT is cut in both ways, in so many rounds: about two hundred cuts. */
const ROUNDS = 4;
const CUTS = 200;
const ITEMS = 3;

interface Request {
  readonly method: 'POST' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload?: string | object;
}

/** A route that writes, or what loops do: `prepare` is never cut, `work` is, and is then done again the same way. */
interface Scenario<Prepared = string> {
  readonly name: string;
  readonly prepare?: () => Promise<Prepared>;
  /** @returns the id of what it made or changed */
  readonly work: (prepared: Prepared, key: string) => Promise<string | null>;
}

describe.runIf(serverUrl !== null)('a COMMIT that is cut', () => {
  const name = `cut_${randomUUID().replaceAll('-', '')}`;
  let proxy: PostgresCutProxy;
  let api: TestApi;
  let cuts = 0;
  /** Each scenario has its own: what others left does not slow it down. */
  let project = 'none';

  async function onServer(statement: string): Promise<void> {
    const client = new Client({ connectionString: serverUrl ?? '' });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  }

  beforeAll(async () => {
    await onServer(`create database ${name}`);
    const url = new URL(serverUrl ?? 'postgres://localhost');
    proxy = await startPostgresCutProxy({ targetHost: url.hostname, targetPort: Number(url.port || 5432) });
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    url.pathname = `/${name}`;
    api = await openTestApi({ BATCH_INFER_WEBHOOK_ALLOW_HOSTS: '127.0.0.1' }, undefined, url.href);
  });
  afterAll(async () => {
    await api?.close();
    await proxy?.close();
    await onServer(`drop database if exists ${name} with (force)`);
  });

  const itemsOf = (count = ITEMS) =>
    Array.from({ length: count }, (_, index) => ({ custom_id: `q-${index}`, body: { input: 'x' } }));
  const linesOf = () =>
    itemsOf()
      .map(({ custom_id, body }) =>
        JSON.stringify({ custom_id, method: 'POST', url: '/v1/embeddings', body: { ...body, model: 'm' } }),
      )
      .join('\n');
  const form = (field: 'file' | 'data', text: string, filename: string) => {
    const purpose = '--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n';
    const content = `--x\r\ncontent-disposition: form-data; name="${field}"; filename="${filename}"\r\n\r\n${text}\r\n`;
    return {
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      payload: `${field === 'file' ? purpose : ''}${content}--x--\r\n`,
    };
  };

  /** What it made; `null` when the ledger was away, which has to be said as it is. @throws when it was refused */
  async function send(request: Request, key?: string): Promise<{ id: string } | null> {
    const headers = {
      'x-test-project': project,
      ...request.headers,
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    };
    const answer = await api.fastify.inject({ ...request, headers });
    // 529 is what Anthropic's clients know.
    if (answer.statusCode === 503 || answer.statusCode === 529) {
      expect(answer.body).not.toContain('Nothing was done');
      return null;
    }
    // What was deleted by the first attempt is gone.
    if (request.method === 'DELETE' && [200, 404].includes(answer.statusCode)) return { id: 'gone' };
    expect(answer.statusCode, answer.body).toBeLessThan(300);
    return answer.json<{ id: string }>();
  }
  const idOf = async (request: Request, key?: string): Promise<string | null> =>
    (await send(request, key))?.id ?? null;
  async function must(request: Request): Promise<string> {
    const id = await idOf(request, randomUUID());
    if (id === null) throw new Error('it was cut where it must not be');
    return id;
  }
  const post = (url: string, payload: object = {}): Request => ({ method: 'POST', url, payload });
  const upload = (): Request => ({ method: 'POST', url: '/v1/files', ...form('file', linesOf(), 'a') });
  const inline = (more: object = {}): Request =>
    post('/v1/jobs', { model: 'm', endpoint: '/v1/embeddings', items: itemsOf(), ...more });
  const messages = (): Request =>
    post('/v1/messages/batches', {
      requests: itemsOf().map(({ custom_id }) => ({
        custom_id,
        params: { model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'x' }] },
      })),
    });

  const jobOf = async (id: string): Promise<JobRecord> => {
    const job = await api.ledger.getJob({ projectId: project, id });
    if (job === null) throw new Error(`${id} is gone`);
    return job;
  };
  async function runAll(answer = answered('x')): Promise<void> {
    // Leases that were lost on the way run out.
    api.advance(60_000);
    await api.ledger.expireLeases({ nowMs: api.nowMs(), limit: 1_000 });
    while ((await api.runShard(() => answer)) !== null);
  }
  async function runToEnd(id: string, answer = answered('x')): Promise<void> {
    await runAll(answer);
    await api.finalizer.tick(id);
  }
  async function endedJob(answer = answered('x')): Promise<string> {
    const id = await must(inline());
    await runToEnd(id, answer);
    return id;
  }
  async function withParts(): Promise<{ id: string; partId: string }> {
    const text = linesOf();
    const plan = { filename: 'a', purpose: 'batch', mime_type: 'application/jsonl', bytes: text.length };
    const id = await must(post('/v1/uploads', plan));
    const partId = await must({ method: 'POST', url: `/v1/uploads/${id}/parts`, ...form('data', text, 'a') });
    return { id, partId };
  }
  /** What a loop does, which says that the ledger was away by throwing. */
  const loop = async (id: string, work: () => Promise<unknown>): Promise<string | null> => {
    try {
      await work();
    } catch {
      return null;
    }
    return id;
  };

  const scenarios: Scenario[] = [
    { name: 'POST /v1/jobs, inline', work: (_, key) => idOf(inline(), key) },
    {
      name: 'POST /v1/jobs, a stream',
      work: (_, key) =>
        idOf(
          {
            method: 'POST',
            url: '/v1/jobs?endpoint=/v1/embeddings&model=m',
            headers: { 'content-type': 'application/x-ndjson' },
            payload: linesOf(),
          },
          key,
        ),
    },
    {
      name: 'POST /v1/jobs, of a file',
      prepare: () => must(upload()),
      work: (fileId, key) => idOf(post('/v1/jobs', { file_id: fileId }), key),
    },
    {
      name: 'POST /v1/batches',
      prepare: () => must(upload()),
      work: (fileId, key) =>
        idOf(
          post('/v1/batches', {
            input_file_id: fileId,
            endpoint: '/v1/embeddings',
            completion_window: '24h',
          }),
          key,
        ),
    },
    {
      name: 'POST /v1/batches that is refused',
      prepare: () => must(upload()),
      work: (fileId, key) =>
        idOf(
          post('/v1/batches', {
            input_file_id: fileId,
            endpoint: '/v1/completions',
            completion_window: '24h',
          }),
          key,
        ),
    },
    { name: 'POST /v1/messages/batches', work: (_, key) => idOf(messages(), key) },
    { name: 'POST /v1/files', work: (_, key) => idOf(upload(), key) },
    {
      name: 'POST /v1/uploads',
      work: (_, key) =>
        idOf(
          post('/v1/uploads', { filename: 'a', purpose: 'batch', mime_type: 'application/jsonl', bytes: 9 }),
          key,
        ),
    },
    {
      name: 'POST /v1/uploads/{id}/parts',
      prepare: async () => (await withParts()).id,
      work: (id, key) =>
        idOf({ method: 'POST', url: `/v1/uploads/${id}/parts`, ...form('data', 'more', 'a') }, key),
    },
    {
      name: 'POST /v1/uploads/{id}/complete',
      prepare: async () => JSON.stringify(await withParts()),
      work: (prepared, key) => {
        const { id, partId } = JSON.parse(prepared) as { id: string; partId: string };
        return idOf(post(`/v1/uploads/${id}/complete`, { part_ids: [partId] }), key);
      },
    },
    {
      name: 'POST /v1/jobs/{id}/cancel',
      prepare: () => must(inline()),
      work: (id) => idOf(post(`/v1/jobs/${id}/cancel`)),
    },
    {
      name: 'POST /v1/jobs/{id}/retry',
      prepare: () => endedJob(broken()),
      work: (id, key) => idOf(post(`/v1/jobs/${id}/retry`, { status: ['failed'] }), key),
    },
    {
      name: 'DELETE /v1/files/{id}',
      prepare: () => must(upload()),
      work: (id) => idOf({ method: 'DELETE', url: `/v1/files/${id}` }),
    },
    {
      name: 'DELETE /v1/messages/batches/{id}',
      prepare: async () => {
        const id = await must(messages());
        await runToEnd(id.replace('msgbatch_', 'job_'));
        return id;
      },
      work: (id) => idOf({ method: 'DELETE', url: `/v1/messages/batches/${id}` }),
    },
    {
      name: 'POST /v1/webhook_endpoints',
      work: async (_, key) => {
        const id = await idOf(
          post('/v1/webhook_endpoints', {
            name: 'n',
            url: 'https://127.0.0.1/hook',
            event_types: ['batch.completed'],
          }),
          key,
        );
        return id;
      },
    },
    {
      name: 'the planner',
      prepare: () => must(inline({ reuse: 'project' })),
      work: (id) =>
        loop(id, async () => {
          api.advance(60_000);
          await api.planner.tick(id);
          if ((await jobOf(id)).state === 'validating') throw new Error('it is tried again');
        }),
    },
    {
      name: 'a settle',
      prepare: () => must(inline()),
      work: (id) =>
        loop(id, async () => {
          await runAll();
        }),
    },
    {
      name: 'the finalizer',
      prepare: async () => {
        const id = await must(inline());
        await runAll();
        return id;
      },
      work: (id) =>
        loop(id, async () => {
          api.advance(60_000);
          await api.finalizer.tick(id);
          if ((await jobOf(id)).state === 'finalizing') throw new Error('it is tried again');
        }),
    },
  ];

  /** How many COMMITs it has. */
  async function commitsOf({ prepare, work }: Scenario): Promise<number> {
    const prepared = (await prepare?.()) ?? '';
    const before = proxy.commits();
    expect(await work(prepared, randomUUID())).not.toBeNull();
    return proxy.commits() - before;
  }

  async function cut({ prepare, work }: Scenario, nth: number, at: CommitCut): Promise<void> {
    const prepared = (await prepare?.()) ?? '';
    const key = randomUUID();
    proxy.cutCommit(nth, at);
    const first = await work(prepared, key);
    if (!proxy.forgetCut()) cuts += 1;
    let again: string | null = null;
    for (let tries = 0; again === null && tries < 5; tries += 1) again = await work(prepared, key);
    expect(again).not.toBeNull();
    if (first !== null) expect(again).toBe(first);
    // And once more: nothing is made twice.
    expect(await work(prepared, key)).toBe(again);
  }

  it.each(scenarios)('neither loses nor doubles anything: $name', { timeout: 240_000 }, async (scenario) => {
    project = `proj_${scenarios.indexOf(scenario)}`;
    const commits = await commitsOf(scenario);
    expect(commits).toBeGreaterThan(0);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let nth = 1; nth <= commits; nth += 1) {
        for (const at of ['sent', 'answered'] as const) await cut(scenario, nth, at);
      }
    }
    await runAll();
  });

  it('leaves every object that a row names, and jobs that run to their end', {
    timeout: 240_000,
  }, async () => {
    expect(cuts).toBeGreaterThanOrEqual(CUTS);
    await api.planner.tick('job_none');
    await runAll();
    await api.finalizer.tick();
    const keys = new Set(await everyKey());
    for (const [number] of scenarios.entries()) {
      const projectId = `proj_${number}`;
      for (const job of await api.ledger.listJobs({ projectId, limit: 1_000 })) {
        expect(job.finishedAtMs, `${job.id} is ${job.state}`).not.toBeNull();
        expect(job.total === 0 || keys.has(job.inputBlobKey), `the input of ${job.id}`).toBe(true);
        const results = await api.fastify.inject({
          method: 'GET',
          url: `/v1/jobs/${job.id}/results`,
          headers: { 'x-test-project': projectId },
        });
        expect(results.body.split('\n').filter(Boolean), job.id).toHaveLength(job.total);
      }
      for (const file of await api.ledger.listFiles({ projectId, limit: 1_000 }))
        expect(keys.has(file.blobKey), file.id).toBe(true);
    }
  });

  async function everyKey(): Promise<string[]> {
    const keys: string[] = [];
    for (let after: string | undefined; ; after = keys.at(-1)) {
      const page = await api.blobs.list({
        prefix: '',
        limit: 1_000,
        ...(after === undefined ? {} : { after }),
      });
      keys.push(...page.map(({ key }) => key));
      if (page.length < 1_000) return keys;
    }
  }
});
