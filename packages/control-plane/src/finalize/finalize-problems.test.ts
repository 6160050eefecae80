import type { Job } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answered, openTestApi, type TestApi } from '../http/api-conformance.js';
import { OWN_TRIES } from '../jobs/try-rules.js';
import { CommitUnknownError, StoreUnavailableError } from '../ports/outage.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await api.close();
});

async function submit(count = 3): Promise<string> {
  const items = Array.from({ length: count }, (_, index) => ({
    custom_id: `q-${index}`,
    body: { input: 'x' },
  }));
  const payload = { model: 'm', endpoint: '/v1/embeddings', items };
  return (await api.fastify.inject({ method: 'POST', url: '/v1/jobs', payload })).json<Job>().id;
}
/** A job whose items have all ended. */
async function finalizing(): Promise<string> {
  const id = await submit();
  while ((await api.runShard(() => answered('x'))) !== null);
  return id;
}
const jobOf = async (id: string) => {
  const job = await api.ledger.getJob({ projectId: 'default', id });
  if (job === null) throw new Error('the job is gone');
  return job;
};
const cancel = (id: string) => api.fastify.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` });
const segmentOf = async (id: string): Promise<string> => {
  const [segment] = await api.ledger.listSegments({ jobId: id, limit: 1 });
  if (segment === undefined) throw new Error('nothing was settled');
  return segment.blobKey;
};
async function loseSegment(id: string): Promise<void> {
  await api.blobs.delete({ key: await segmentOf(id) });
}
/** Ticks at the pace of the job's own backoff, until it has ended. */
async function tickUntilEnded(id: string, most = 3 * OWN_TRIES): Promise<number> {
  for (let ticks = 1; ticks <= most; ticks += 1) {
    await api.finalizer.tick();
    if ((await jobOf(id)).finishedAtMs !== null) return ticks;
    api.advance(60_000);
  }
  throw new Error('the job does not end');
}

describe('a job that cannot be finalized', () => {
  it.each([
    ['missing', async (key: string) => await api.blobs.delete({ key })],
    [
      'damaged',
      async (key: string) => void (await api.blobs.put({ key, body: Buffer.from('not a line\n') })),
    ],
    [
      'shorter than it was',
      async (key: string) => void (await api.blobs.put({ key, body: new Uint8Array() })),
    ],
  ])('ends failed, with an entry that says why, when an object of its own is %s', async (_, spoil) => {
    const other = await submit();
    const id = await finalizing();
    await spoil(await segmentOf(id));
    expect(await tickUntilEnded(id)).toBe(OWN_TRIES);
    expect(await jobOf(id)).toMatchObject({
      state: 'failed',
      succeeded: 3,
      outputFileId: null,
      problem: null,
      inputErrors: [{ code: 'finalize_failed', message: expect.stringContaining(`segments/${id}`) }],
    });
    // The other one had its end with the first tick.
    expect(await jobOf(other)).toMatchObject({ state: 'succeeded' });
  });

  it('says so meanwhile, and ends well when its object comes back', async () => {
    await finalizing();
    const id = await finalizing();
    const get = vi.spyOn(api.blobs, 'get').mockRejectedValue(new Error('not today'));
    await api.finalizer.tick();
    const sinceMs = (await jobOf(id)).problem?.sinceMs;
    api.advance(60_000);
    await api.finalizer.tick();
    expect((await jobOf(id)).problem).toMatchObject({ code: 'finalize_failed', tries: 2, sinceMs });
    get.mockRestore();
    api.advance(60_000);
    await api.finalizer.tick();
    expect(await jobOf(id)).toMatchObject({ state: 'succeeded', problem: null });
  });

  it('is not given up while the store is away, however long', async () => {
    const id = await finalizing();
    const away = new StoreUnavailableError('away');
    vi.spyOn(api.blobs, 'get').mockRejectedValue(away);
    vi.spyOn(api.blobs, 'check').mockRejectedValue(away);
    for (let hours = 0; hours < 48; hours += 1) {
      await api.finalizer.tick();
      api.advance(3_600_000);
    }
    expect(await jobOf(id)).toMatchObject({ state: 'finalizing', problem: { ownTries: 0 } });
    expect((await cancel(id)).statusCode).toBe(200);
    await api.finalizer.tick();
    expect((await jobOf(id)).state).toBe('finalizing');
    vi.restoreAllMocks();
    api.advance(60_000);
    await api.finalizer.tick();
    expect((await jobOf(id)).state).toBe('succeeded');
  });

  it('is not given up when all objects are missing: it is the wrong store', async () => {
    const ids = [await finalizing(), await finalizing()];
    for (const key of await api.blobKeys()) await api.blobs.delete({ key });
    for (let minutes = 0; minutes < 30; minutes += 1) {
      await api.finalizer.tick();
      api.advance(60_000);
    }
    for (const id of ids) expect((await jobOf(id)).state).toBe('finalizing');
  });

  it('is given up at once when it is cancelled, and says that', async () => {
    await finalizing();
    const id = await finalizing();
    await loseSegment(id);
    await api.finalizer.tick();
    expect((await cancel(id)).statusCode).toBe(200);
    await api.finalizer.tick();
    expect(await jobOf(id)).toMatchObject({
      state: 'cancelled',
      inputErrors: [{ code: 'finalize_failed', message: expect.stringContaining('cancelled') }],
    });
  });

  it('still has its other results', async () => {
    await submit();
    const id = await submit(600);
    while ((await api.runShard(() => answered('x'))) !== null);
    await loseSegment(id);
    await tickUntilEnded(id);
    for (const query of ['', '?order=completion']) {
      const results = await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${id}/results${query}` });
      expect(results.statusCode).toBe(200);
      expect(results.body.split('\n').filter(Boolean)).toHaveLength(600 - 256);
    }
  });

  it('does not keep others from their end, of whatever project and size', async () => {
    const bad: string[] = [];
    for (let count = 0; count < 20; count += 1) {
      const id = await finalizing();
      await loseSegment(id);
      bad.push(id);
    }
    const good = await finalizing();
    await api.finalizer.tick();
    expect((await jobOf(good)).state).toBe('succeeded');
    for (const id of bad) expect((await jobOf(id)).problem).toMatchObject({ tries: 1 });
  });
});

describe('the end of a job whose COMMIT was not answered', () => {
  it.each([
    ['stands', true],
    ['does not stand', false],
  ])('is not told twice, and names objects that are there, when it %s', async (_, stands) => {
    const id = await finalizing();
    const finish = api.ledger.finishJob.bind(api.ledger);
    vi.spyOn(api.ledger, 'finishJob').mockImplementationOnce(async (params) => {
      if (stands) await finish(params);
      throw new CommitUnknownError('cut');
    });
    await api.finalizer.tick(id);
    api.advance(60_000);
    await api.finalizer.tick(id);
    const job = await jobOf(id);
    expect(job.state).toBe('succeeded');
    const content = await api.fastify.inject({ method: 'GET', url: `/v1/files/${job.outputFileId}/content` });
    expect(content.body.split('\n').filter(Boolean)).toHaveLength(3);
  });
});

describe('cancelling a job whose items have all ended', () => {
  it('says that there is nothing left to cancel', async () => {
    const id = await finalizing();
    const answer = await cancel(id);
    expect(answer.statusCode).toBe(409);
    expect(answer.json()).toMatchObject({ code: 'job_already_ended' });
    await api.finalizer.tick();
    expect((await jobOf(id)).state).toBe('succeeded');
  });

  it('is the same request twice when the first one stopped it', async () => {
    const id = await submit();
    expect((await cancel(id)).statusCode).toBe(200);
    expect((await jobOf(id)).state).toBe('finalizing');
    expect((await cancel(id)).statusCode).toBe(200);
  });
});
