import { type JobState, LIMITS } from '@batch-infer/contracts';
import { sql } from 'kysely';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import type { Database } from './dialect.js';
import { toJobRecord } from './rows.js';

/** Jobs that wait for work of the control plane's own, which nobody does now and whose time has come. */
function waitingJobs(
  { db }: Database,
  params: { states: readonly JobState[]; small: boolean; nowMs: number },
) {
  return (
    db
      .selectFrom('job')
      .select(['id as waiting_id', 'created_at as waits_since'])
      // Each project's first one, then each one's second, and so on.
      .select(sql<number>`row_number() over (partition by project_id order by created_at, id)`.as('turn'))
      .where('state', 'in', params.states)
      .where('total', params.small ? '<=' : '>', LIMITS.shardItems)
      .where(({ or, eb }) => or([eb('finalize_until', 'is', null), eb('finalize_until', '<=', params.nowMs)]))
  );
}

export async function listUnplanned(
  database: Database,
  { createdBeforeMs, limit, ...due }: Parameters<Ledger['listUnplanned']>[0],
): Promise<JobRecord[]> {
  const rows = await database.db
    .with('waiting', () =>
      waitingJobs(database, { ...due, states: ['validating', 'cancelling'] })
        .where('ordinals', 'is', null)
        .where('created_at', '<', createdBeforeMs),
    )
    .selectFrom('waiting')
    .innerJoin('job', 'job.id', 'waiting.waiting_id')
    .selectAll('job')
    .orderBy('waiting.turn')
    .orderBy('waiting.waits_since')
    .limit(limit)
    .execute();
  return rows.map(toJobRecord);
}

export async function listFinalizing(
  database: Database,
  { limit, ...due }: Parameters<Ledger['listFinalizing']>[0],
): Promise<string[]> {
  const rows = await database.db
    .with('waiting', () => waitingJobs(database, { ...due, states: ['finalizing'] }))
    .selectFrom('waiting')
    .select('waiting_id')
    .orderBy('turn')
    .orderBy('waits_since')
    .limit(limit)
    .execute();
  return rows.map((row) => row.waiting_id);
}
