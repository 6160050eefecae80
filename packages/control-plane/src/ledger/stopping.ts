import type { EndReason } from '@batch-infer/contracts';
import { isTerminal } from '@batch-infer/contracts';
import type { Ledger } from '../ports/ledger.js';
import type { Database, Session } from './dialect.js';
import { lockJob } from './jobs.js';
import { toJobRecord } from './rows.js';
import { CLAIMABLE, type JobRow } from './schema.js';
import { STOPPABLE_STATES } from './states.js';

export async function stopJob(
  database: Database,
  { projectId, id, reason, nowMs }: Parameters<Ledger['stopJob']>[0],
): ReturnType<Ledger['stopJob']> {
  return database.transaction(async (session) => {
    const row = await lockJob(session, id);
    if (row === null || (projectId !== null && row.project_id !== projectId)) return null;
    if (isTerminal(row.state)) return { outcome: 'ended', job: toJobRecord(row) };
    if (!STOPPABLE_STATES.includes(row.state)) {
      const stopped =
        row.problem_code === null || reason !== 'cancelled' ? row : await giveUp(session, row, nowMs);
      return { outcome: 'stopping', job: toJobRecord(stopped) };
    }
    return { outcome: 'stopping', job: toJobRecord(await beginStop(session, row, reason, nowMs)) };
  });
}

/**
 * Takes what is left of a locked job from the runners' reach: its free shards are `stopped`, and it is `cancelling`
 * while shards are leased or while it has no shards yet (its items need a place in the results), else `finalizing`.
 */
export async function beginStop(
  session: Session,
  job: JobRow,
  reason: EndReason,
  nowMs: number,
): Promise<JobRow> {
  await session.db
    .updateTable('shard')
    .set({ state: 'stopped', offered_at: null })
    .where('job_id', '=', job.id)
    .where('state', 'in', CLAIMABLE)
    .execute();
  const waits = job.ordinals === null || (await hasLeasedShards(session, job.id));
  const change = {
    state: waits ? ('cancelling' as const) : ('finalizing' as const),
    end_reason: reason,
    paused_at: null,
    cancelling_at: nowMs,
    finalizing_at: waits ? null : nowMs,
    // What waits to be planned again is planned now: its items need a place in the results.
    ...(job.finalize_owner === null ? { finalize_until: null } : {}),
    version: job.version + 1,
  };
  await session.db.updateTable('job').set(change).where('id', '=', job.id).execute();
  return { ...job, ...change };
}

/** A job that cannot be finalized or planned is tried once more, now, and given up when that fails. */
async function giveUp({ db }: Session, job: JobRow, nowMs: number): Promise<JobRow> {
  const change = {
    give_up_at: job.give_up_at ?? nowMs,
    ...(job.finalize_owner === null ? { finalize_until: null } : {}),
    version: job.version + 1,
  };
  await db.updateTable('job').set(change).where('id', '=', job.id).execute();
  return { ...job, ...change };
}

/** `cancelling` → `finalizing` when nothing of the locked job is leased any more. True when it moved. */
export async function finishStopping(session: Session, job: JobRow, nowMs: number): Promise<boolean> {
  if (job.state !== 'cancelling' || job.ordinals === null) return false;
  if (await hasLeasedShards(session, job.id)) return false;
  await session.db
    .updateTable('job')
    .set((expression) => ({
      state: 'finalizing' as const,
      finalizing_at: nowMs,
      version: expression('version', '+', 1),
    }))
    .where('id', '=', job.id)
    .execute();
  return true;
}

async function hasLeasedShards({ db }: Session, jobId: string): Promise<boolean> {
  const row = await db
    .selectFrom('shard')
    .select('id')
    .where('job_id', '=', jobId)
    .where('state', '=', 'leased')
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Jobs looked at in one call; the next call takes the rest. */
const STOPPING_BATCH = 100;

export async function advanceStopping(
  database: Database,
  { graceBeforeMs, nowMs }: Parameters<Ledger['advanceStopping']>[0],
): Promise<string[]> {
  const candidates = await database.db
    .selectFrom('job')
    .select('id')
    .where('state', '=', 'cancelling')
    .where('ordinals', 'is not', null)
    .orderBy('cancelling_at')
    .limit(STOPPING_BATCH)
    .execute();
  const advanced: string[] = [];
  for (const { id } of candidates) {
    const moved = await database.transaction(async (session) => {
      const job = await lockJob(session, id);
      if (job === null || job.state !== 'cancelling') return false;
      if (job.cancelling_at !== null && job.cancelling_at < graceBeforeMs) await fence(session, id);
      return finishStopping(session, job, nowMs);
    });
    if (moved) advanced.push(id);
  }
  return advanced;
}

/** Ends the leases of a job for good: whatever their runners still hand over is refused. */
async function fence({ db }: Session, jobId: string): Promise<void> {
  await db
    .updateTable('shard')
    .set({ state: 'stopped', runner_id: null, lease_until: null })
    .where('job_id', '=', jobId)
    .where('state', '=', 'leased')
    .execute();
}

export async function listExpired(
  { db }: Database,
  { nowMs, limit }: Parameters<Ledger['listExpired']>[0],
): ReturnType<Ledger['listExpired']> {
  const rows = await db
    .selectFrom('job')
    .selectAll()
    .where('state', 'in', STOPPABLE_STATES)
    .where('expires_at', '<=', nowMs)
    .orderBy('expires_at')
    .limit(limit)
    .execute();
  return rows.map(toJobRecord);
}
