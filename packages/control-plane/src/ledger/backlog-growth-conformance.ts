import { newId } from '@batch-infer/contracts';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Database } from './dialect.js';
import type { OnStatement } from './statement-log.js';
import { LedgerWorld, runnerReport } from './world-conformance.js';

export interface GrowthHarness {
  readonly ledger: Ledger;
  readonly database: Database;
  close(): Promise<void>;
}

/** More parameters than this in one statement come from a list without a bound. */
const PARAMETERS_MAX = 5_000;
const ROWS_AT_ONCE = 100;

/** What stands in the ledger is the tenants' to choose: it may not decide how many statements there are, or how long. */
export function backlogGrowthConformance(
  name: string,
  open: (onStatement: OnStatement) => Promise<GrowthHarness>,
): void {
  describe(`the backlog on ${name}`, () => {
    let harness: GrowthHarness;
    let world: LedgerWorld;
    let parameters: number[];

    beforeEach(() => start());
    afterEach(() => harness.close());

    async function start(): Promise<void> {
      parameters = [];
      harness = await open((statement) => parameters.push(statement.parameters));
      world = new LedgerWorld(harness);
    }

    /** The job and its shards, so many times more. */
    async function multiply(job: Pick<JobRecord, 'id'>, times: number): Promise<void> {
      const { db } = harness.database;
      const row = await db.selectFrom('job').selectAll().where('id', '=', job.id).executeTakeFirstOrThrow();
      const shards = await db.selectFrom('shard').selectAll().where('job_id', '=', job.id).execute();
      for (let done = 0; done < times; done += ROWS_AT_ONCE) {
        const copies = Array.from({ length: Math.min(ROWS_AT_ONCE, times - done) }, (_, index) => ({
          ...row,
          id: newId('job', row.created_at + done + index),
          created_at: row.created_at + done + index,
        }));
        await harness.database.transaction(async (session) => {
          await session.db.insertInto('job').values(copies).execute();
          const ofCopies = copies.flatMap(({ id }) =>
            shards.map((shard) => ({ ...shard, id: newId('shard', row.created_at), job_id: id })),
          );
          if (ofCopies.length > 0) await session.db.insertInto('shard').values(ofCopies).execute();
        });
      }
    }

    /** Jobs in every state that waits, of a project with a budget and of one without. */
    async function fill(jobs: number): Promise<JobRecord> {
      const { ledger, nowMs } = world;
      await ledger.saveRunner({ report: runnerReport('run_one'), nowMs });
      await ledger.setProjectLimits({
        projectId: world.project,
        change: { maxRunningJobs: 400, maxQueuedTokens: 1_000_000_000 },
      });
      const held = await world.job({ shards: [2] });
      await multiply(held, jobs);
      await multiply(await world.job({ shards: [2], projectId: 'proj_two' }), jobs);
      await multiply(await world.job({ shards: [2], projectId: 'proj_two', isPlanned: false }), jobs);
      const running = await world.job({ shards: [2], projectId: 'proj_two' });
      await world.claimNext(running);
      await multiply(running, jobs);
      const stopping = await world.job({ shards: [2], projectId: 'proj_two' });
      await world.claimNext(stopping);
      const stop = { projectId: null, id: stopping.id, reason: 'cancelled' as const, nowMs };
      await ledger.stopJob(stop);
      await multiply(stopping, jobs);
      const finalizing = await world.job({ shards: [2], projectId: 'proj_two' });
      await world.runAll(finalizing);
      await multiply(finalizing, jobs);
      return held;
    }

    /** What the loops and the readers of jobs ask. */
    async function lookAtEverything(job: JobRecord): Promise<void> {
      const { ledger } = world;
      const nowMs = world.nowMs + 1;
      await ledger.takeOffers({ staleBeforeMs: 0, limit: 32, nowMs });
      await ledger.takeOffers({ staleBeforeMs: 0, limit: 32, nowMs, models: ['model-a'] });
      await ledger.laneLoads({ models: ['model-a'] });
      await ledger.backlog({ models: ['model-a'] });
      await ledger.backlog({ models: ['model-a'], others: 'other' });
      await ledger.listUnplanned({ createdBeforeMs: nowMs + 1e9, small: true, limit: 16, nowMs });
      await ledger.listExpired({ nowMs: nowMs + 1e12, limit: 100 });
      await ledger.listSilent({ sinceMs: nowMs + 1e9, perProject: 5, limit: 100 });
      await ledger.countOpenJobs();
      await ledger.claimFinalization({ owner: 'one', claimMs: 1_000, nowMs });
      await ledger.jobActivity({ jobId: job.id, nowMs, windowMs: 1_000 });
      await ledger.queuePosition({ jobId: job.id });
      await ledger.budgetOf({ jobId: job.id });
      await ledger.budgetUse({ projectId: world.project, nowMs });
      await ledger.budgetUse({ projectId: 'proj_two', nowMs });
      await ledger.advanceStopping({ graceBeforeMs: 0, nowMs });
      await ledger.expireLeases({ nowMs: nowMs + 1e9, limit: 100 });
    }

    it('decides neither the number of statements nor the number of their parameters', async () => {
      const seen: { statements: number; parameters: number }[] = [];
      for (const jobs of [450, 1_350]) {
        const job = await fill(jobs);
        // Thousands of rows have just come: PostgreSQL would plan by its guesses until autovacuum has looked at them.
        for (const table of ['job', 'shard'])
          await sql`analyze ${sql.table(table)}`.execute(harness.database.db);
        parameters.length = 0;
        await lookAtEverything(job);
        seen.push({ statements: parameters.length, parameters: Math.max(...parameters) });
        await harness.close();
        await start();
      }
      expect(seen[1]).toEqual(seen[0]);
      expect(seen[0]?.parameters).toBeLessThan(PARAMETERS_MAX);
    }, 240_000);

    it('of 40,000 jobs that one project’s budget holds back delays nobody else’s work', async () => {
      const { ledger } = world;
      await ledger.setProjectLimits({ projectId: world.project, change: { maxRunningJobs: 2 } });
      const held = await world.job({ shards: [2] });
      await multiply(held, 40_000);
      const others: string[] = [];
      for (let index = 0; index < 3; index += 1)
        others.push((await world.job({ shards: [2], projectId: `proj_${index}` })).id);
      parameters.length = 0;
      let queues = 0;
      const offered = await ledger.takeOffers({
        staleBeforeMs: 0,
        limit: 32,
        nowMs: world.nowMs,
        pick: (all) => {
          queues = all.length;
          return all.flatMap(({ shards }) => shards);
        },
      });
      expect(offered.map(({ jobId }) => jobId)).toEqual(expect.arrayContaining(others));
      expect(offered).toHaveLength(3 + 2);
      expect(queues).toBe(3 + 2);
      expect(Math.max(...parameters)).toBeLessThan(200);
    }, 240_000);
  });
}
