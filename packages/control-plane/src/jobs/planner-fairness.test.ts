import type { Job } from '@batch-infer/contracts/native';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openTestApi, type TestApi } from '../http/api-conformance.js';
import { JobPlans } from '../plan/job-plans.js';
import { CommitUnknownError } from '../ports/outage.js';
import { OWN_TRIES } from './try-rules.js';

let api: TestApi;
beforeEach(async () => {
  api = await openTestApi();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await api.close();
});

/** A job that has to pass through the planner, which waits for the test to call it. */
async function submit(count: number, project = 'default'): Promise<string> {
  const text = Array.from({ length: count }, (_, index) =>
    JSON.stringify({ custom_id: `q-${index}`, body: { input: 'x' } }),
  ).join('\n');
  const headers = { 'content-type': 'application/x-ndjson', 'x-test-project': project };
  const url = '/v1/jobs?endpoint=/v1/embeddings&model=m&reuse=project';
  const answer = await api.fastify.inject({ method: 'POST', url, headers, payload: text });
  expect(answer.statusCode, answer.body).toBe(202);
  return answer.json<Job>().id;
}
const jobOf = async (id: string, projectId = 'default') => {
  const job = await api.ledger.getJob({ projectId, id });
  if (job === null) throw new Error('the job is gone');
  return job;
};

describe('planning', () => {
  it('goes on for everybody while large jobs take for ever', async () => {
    const plans = api.app.get(JobPlans, { strict: false });
    const make = plans.make.bind(plans);
    const { promise: never, reject } = Promise.withResolvers<never>();
    vi.spyOn(plans, 'make').mockImplementation((planning) =>
      planning.job.total > 256 ? never : make(planning),
    );
    const large: string[] = [];
    for (let count = 0; count < 20; count += 1) large.push(await submit(300));
    const small = [await submit(3), await submit(3, 'proj_other')];
    const begun = await api.planner.begin(small[1]);
    await vi.waitFor(async () => {
      expect((await jobOf(small[0] ?? '')).state).toBe('queued');
      expect((await jobOf(small[1] ?? '', 'proj_other')).state).toBe('queued');
    });
    for (const id of large) expect((await jobOf(id)).state).toBe('validating');
    reject(new Error('the test is over'));
    await Promise.all(begun);
  });

  it('is tried again for each job by itself, and ends with its reason', async () => {
    const plans = api.app.get(JobPlans, { strict: false });
    const make = plans.make.bind(plans);
    const bad = await submit(3);
    vi.spyOn(plans, 'make').mockImplementation((planning) =>
      planning.job.id === bad ? Promise.reject(new Error('odd')) : make(planning),
    );
    const good = await submit(3);
    expect(await api.planner.tick(bad)).toBe(1);
    expect((await jobOf(good)).state).toBe('queued');
    expect(await jobOf(bad)).toMatchObject({
      state: 'validating',
      problem: { code: 'plan_failed', tries: 1 },
    });
    for (let tries = 1; tries < OWN_TRIES; tries += 1) {
      api.advance(60_000);
      await api.planner.tick();
    }
    expect(await jobOf(bad)).toMatchObject({
      state: 'failed',
      inputErrors: [{ code: 'plan_failed', message: expect.stringContaining('could not be planned') }],
    });
  });

  it.each([
    ['stands', true],
    ['does not stand', false],
  ])('whose COMMIT was not answered leaves a job that runs, when it %s', async (_, stands) => {
    const id = await submit(3);
    const plan = api.ledger.planJob.bind(api.ledger);
    vi.spyOn(api.ledger, 'planJob').mockImplementationOnce(async (params) => {
      if (stands) await plan(params);
      throw new CommitUnknownError('cut');
    });
    await api.planner.tick(id);
    api.advance(60_000);
    await api.planner.tick();
    expect(await jobOf(id)).toMatchObject({ state: 'queued', problem: null });
    expect(await api.ledger.countOrdinals({ jobId: id })).toBe(1);
  });
});
