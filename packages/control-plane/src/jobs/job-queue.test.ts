import { describe, expect, it } from 'vitest';
import type { QueuePosition } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import { reportOf } from '../use-cases-fixture.js';
import { type QueueFacts, waitingReasons } from './job-queue.js';

const NOW_MS = Date.parse('2026-11-28T12:00:00Z');

const job = (fields: Partial<JobRecord> = {}): JobRecord =>
  ({
    id: 'job_1',
    state: 'queued',
    models: ['m'],
    pausedAtMs: null,
    problem: null,
    createdAtMs: 1,
    ...fields,
  }) as JobRecord;

const ahead = (fields: Partial<QueuePosition> = {}): QueuePosition => ({
  jobsAhead: 0,
  itemsAhead: 0,
  otherProjects: 0,
  heldItems: 0,
  maxRunningItems: null,
  ...fields,
});

const engine = (healthy: boolean, problem: string | null = null) => ({
  id: 'engine-0',
  models: ['m'],
  healthy,
  window: 8,
  in_flight: 0,
  problem,
});

const runner = (fields: object = {}) => ({ ...reportOf('r'), engines: [engine(true)], ...fields });

const reasons = (facts: Partial<QueueFacts> = {}, fields: Partial<JobRecord> = {}) =>
  waitingReasons(job(fields), {
    nowMs: NOW_MS,
    lanes: [],
    runners: [runner()],
    transport: { state: 'up', reason: null },
    runningItems: 0,
    ahead: ahead(),
    idleMs: 0,
    settleIntervalMs: null,
    ...facts,
  });

const codes = (...parameters: Parameters<typeof reasons>) => reasons(...parameters).map(({ code }) => code);

describe('a job that waits says why', () => {
  it('is planned, is paused, runs, has ended', () => {
    expect(codes({}, { state: 'validating' })).toEqual(['planning']);
    expect(codes({}, { pausedAtMs: 1 })).toEqual(['paused']);
    expect(codes({ runningItems: 3 }, { state: 'running' })).toEqual([]);
    expect(codes({ idleMs: 1e9 }, { state: 'succeeded' })).toEqual([]);
    expect(codes()).toEqual([]);
  });

  it('no runner serves its models, and which are served', () => {
    const [reason] = reasons({ runners: [runner({ models: ['other'] })] });
    expect(reason).toMatchObject({
      code: 'no_runner_for_model',
      message: expect.stringMatching(/"m".*"other"/),
    });
    expect(codes({}, { models: ['m', 'x'] })).toEqual(['no_runner_for_model']);
  });

  it('Kafka is down', () => {
    const down = { state: 'down', reason: 'no broker answers' } as const;
    expect(reasons({ transport: down })).toMatchObject([
      { code: 'transport_down', message: expect.stringContaining('no broker answers') },
    ]);
    expect(codes({ transport: down, runners: [] })).toEqual(['transport_down', 'no_runner_for_model']);
  });

  it('its engines take no work, with what the runners report of them', () => {
    const broken = runner({ engines: [engine(false, 'connection refused')] });
    expect(reasons({ runners: [broken] })).toMatchObject([
      { code: 'engine_unavailable', message: expect.stringContaining('connection refused') },
    ]);
    expect(codes({ runners: [broken, runner()] })).toEqual([]);
  });

  it('its project is at its cap', () => {
    expect(reasons({ ahead: ahead({ heldItems: 8, maxRunningItems: 8 }) })).toMatchObject([
      { code: 'waiting_for_turn', message: expect.stringMatching(/runs 8 items, and at most 8/) },
    ]);
    expect(codes({ ahead: ahead({ heldItems: 7, maxRunningItems: 8 }) })).toEqual([]);
  });

  it('others are ahead, or share the runners', () => {
    expect(reasons({ ahead: ahead({ jobsAhead: 2, itemsAhead: 1 }) })).toMatchObject([
      { code: 'waiting_for_turn', message: '2 jobs with 1 waiting item are ahead.' },
    ]);
    expect(reasons({ ahead: ahead({ otherProjects: 1 }) })).toMatchObject([
      { code: 'waiting_for_turn', message: 'It is next. The runners are shared with 1 other project.' },
    ]);
  });

  it('every runner is busy', () => {
    const busy = [runner({ free_slots: 0 })];
    expect(codes({ runners: busy })).toEqual(['runners_busy']);
    expect(codes({ runners: busy, ahead: ahead({ jobsAhead: 1 }) })).toEqual(['runners_busy']);
  });

  it('it is stalled: nothing for a minute, and for three times as long as usual', () => {
    const running = (facts: Partial<QueueFacts>) =>
      codes({ runningItems: 2, ...facts }, { state: 'running' });
    expect(running({ idleMs: 60_000 })).toEqual([]);
    expect(running({ idleMs: 60_001 })).toEqual(['stalled']);
    expect(running({ idleMs: 89_000, settleIntervalMs: 30_000 })).toEqual([]);
    expect(running({ idleMs: 90_001, settleIntervalMs: 30_000 })).toEqual(['stalled']);
    expect(codes({ idleMs: 61_000 })).toEqual(['stalled']);
    expect(codes({ idleMs: 61_000, runners: [runner({ free_slots: 0 })] })).toEqual(['runners_busy']);
  });

  it('what failed about it: planning, finalizing; and that it is being stopped or finalized', () => {
    const problem = { message: 'the object is gone', sinceMs: NOW_MS - 60_000, tries: 4, ownTries: 4 };
    const failed = (state: 'validating' | 'finalizing', code: 'plan_failed' | 'finalize_failed') =>
      reasons({}, { state, problem: { ...problem, code } });
    expect(failed('finalizing', 'finalize_failed')).toEqual([
      {
        code: 'finalize_failed',
        message: 'Writing the files of the job failed 4 times: the object is gone. It is tried again.',
        since: '2026-11-28T11:59:00.000Z',
      },
    ]);
    expect(failed('validating', 'plan_failed')).toMatchObject([
      { code: 'plan_failed', since: '2026-11-28T11:59:00.000Z' },
    ]);
    expect(codes({}, { state: 'finalizing', finalizingAtMs: 1 })).toEqual(['finalizing']);
    expect(codes({}, { state: 'cancelling', cancellingAtMs: 1 })).toEqual(['stopping']);
  });

  it('its lane takes no offers, while those of other models do', () => {
    const lanes = [{ model: 'm', reason: 'its topic cannot be made', sinceMs: NOW_MS - 5_000 }];
    expect(reasons({ lanes })).toMatchObject([
      {
        code: 'transport_down',
        message: expect.stringContaining('its topic cannot be made'),
        since: '2026-11-28T11:59:55.000Z',
      },
    ]);
    expect(codes({ lanes, runners: [runner({ models: ['other'] })] }, { models: ['other'] })).toEqual([]);
  });

  it('an engine has nothing in hand and says why, whether or not it counts as healthy', () => {
    const paused = runner({ engines: [engine(true, 'it asked for a pause of an hour')] });
    expect(reasons({ runners: [paused] })).toMatchObject([
      { code: 'engine_unavailable', message: expect.stringContaining('a pause of an hour') },
    ]);
  });

  it('a better reason does not hide that it has stalled', () => {
    expect(codes({ runners: [], idleMs: 61_000 })).toEqual(['no_runner_for_model', 'stalled']);
    expect(codes({ runners: [runner({ engines: [engine(false)] })], idleMs: 61_000 })).toEqual([
      'engine_unavailable',
      'stalled',
    ]);
  });

  it('its project has used up its budget', () => {
    const limits = { requestsPerMinute: null, maxRunningJobs: 2, maxQueuedTokens: null };
    expect(codes({ budget: { budget: 'running_jobs', limits } })).toEqual(['budget']);
  });

  it('every reason has its time', () => {
    const facts: Partial<QueueFacts>[] = [
      { runners: [] },
      { transport: { state: 'down', reason: 'away' } },
      { runners: [runner({ free_slots: 0 })] },
      { ahead: ahead({ jobsAhead: 1 }) },
      { idleMs: 1e6 },
    ];
    for (const each of facts)
      expect(reasons(each).map(({ since }) => typeof since)).not.toContain('undefined');
  });
});
