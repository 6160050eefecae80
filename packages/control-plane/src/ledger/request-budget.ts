import type { ProjectLimitsLedger } from '../ports/project-limits.js';
import type { Database } from './dialect.js';
import { spendRequests } from './request-budget-rules.js';

/**
 * The bucket of a project that all control planes take from. No row is locked while anybody thinks: the new state is
 * written if the old one still stands, and otherwise somebody else was served and it is looked again.
 */
export const takeRequests =
  (database: Database): ProjectLimitsLedger['takeRequests'] =>
  async ({ projectId, nowMs, ...spending }) => {
    const nowUs = Math.round(nowMs * 1_000);
    for (;;) {
      const known = await fullAtOf(database, projectId);
      const { granted, fullAtUs } = spendRequests(known ?? 0, spending, nowUs);
      const unchanged = fullAtUs === (known ?? nowUs);
      if (unchanged || (await replace(database, projectId, known, fullAtUs))) {
        return { granted, fullAtMs: fullAtUs / 1_000 };
      }
    }
  };

async function fullAtOf({ db }: Database, projectId: string): Promise<number | null> {
  const row = await db
    .selectFrom('request_budget')
    .select('full_at_us')
    .where('project_id', '=', projectId)
    .executeTakeFirst();
  return row?.full_at_us ?? null;
}

async function replace(
  { db }: Database,
  projectId: string,
  known: number | null,
  fullAtUs: number,
): Promise<boolean> {
  if (known === null) {
    const { numInsertedOrUpdatedRows: rows } = await db
      .insertInto('request_budget')
      .values({ project_id: projectId, full_at_us: fullAtUs })
      .onConflict((conflict) => conflict.column('project_id').doNothing())
      .executeTakeFirst();
    return rows === 1n;
  }
  const { numUpdatedRows: rows } = await db
    .updateTable('request_budget')
    .set({ full_at_us: fullAtUs })
    .where('project_id', '=', projectId)
    .where('full_at_us', '=', known)
    .executeTakeFirst();
  return rows === 1n;
}
