import type { Ledger } from '../ports/ledger.js';
import type { Database } from './dialect.js';

export async function saveRunner(
  { db }: Database,
  { report, nowMs }: Parameters<Ledger['saveRunner']>[0],
): Promise<void> {
  const content = { report: JSON.stringify(report), last_seen_at: nowMs };
  await db
    .insertInto('runner')
    .values({ id: report.runner_id, ...content })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(content))
    .execute();
}

export async function removeRunner(
  { db }: Database,
  { runnerId }: Parameters<Ledger['removeRunner']>[0],
): Promise<void> {
  await db.deleteFrom('runner').where('id', '=', runnerId).execute();
}

export async function listRunners(
  { db }: Database,
  { seenAfterMs }: Parameters<Ledger['listRunners']>[0],
): ReturnType<Ledger['listRunners']> {
  const rows = await db
    .selectFrom('runner')
    .selectAll()
    .where('last_seen_at', '>', seenAfterMs)
    .orderBy('id')
    .execute();
  return rows.map((row) => ({ report: JSON.parse(row.report), lastSeenAtMs: row.last_seen_at }));
}
