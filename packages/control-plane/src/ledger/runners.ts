import { sql } from 'kysely';
import { ANY_RUNNER, type RunnerLedger } from '../ports/runners.js';
import type { Database } from './dialect.js';

export async function saveRunner(
  database: Database,
  params: Parameters<RunnerLedger['saveRunner']>[0],
): ReturnType<RunnerLedger['saveRunner']> {
  const { identity = ANY_RUNNER, projectBytes } = params;
  const { projectId } = identity;
  if (projectId === null || projectBytes === undefined) return write(database, params);
  return database.transaction(async (session) => {
    // One report after the other: together they must not pass the limit either.
    await session.serialize(`runners of ${projectId}`);
    const { db } = session;
    const others = await db
      .selectFrom('runner')
      .select(sql<number | null>`sum(length(report))`.as('bytes'))
      .where('project_id', '=', projectId)
      .where('id', '!=', params.report.runner_id)
      .executeTakeFirst();
    const bytes = Number(others?.bytes ?? 0) + JSON.stringify(params.report).length;
    return bytes > projectBytes ? 'full' : write(session, params);
  });
}

/** One statement: of two keys that report under one id at once, one is refused. */
async function write(
  { db }: Pick<Database, 'db'>,
  params: Parameters<RunnerLedger['saveRunner']>[0],
): Promise<'saved' | 'taken'> {
  const { report, identity = ANY_RUNNER, liveAfterMs = params.nowMs } = params;
  const { keyId, projectId } = identity;
  const content = {
    report: JSON.stringify(report),
    last_seen_at: params.nowMs,
    key_id: keyId,
    project_id: projectId,
  };
  const saved = await db
    .insertInto('runner')
    .values({ id: report.runner_id, ...content })
    .onConflict((conflict) => {
      const update = conflict.column('id').doUpdateSet(content);
      if (keyId === null) return update;
      return update.where(({ or, eb, exists, selectFrom }) =>
        or([
          eb('runner.key_id', 'is', null),
          eb('runner.key_id', '=', keyId),
          eb('runner.last_seen_at', '<=', liveAfterMs),
          exists(
            selectFrom('api_key')
              .select('api_key.id')
              .whereRef('api_key.id', '=', 'runner.key_id')
              .where('api_key.rotated_to', '=', keyId),
          ),
        ]),
      );
    })
    .returning('id')
    .executeTakeFirst();
  return saved === undefined ? 'taken' : 'saved';
}

export async function removeRunner(
  { db }: Database,
  { runnerId }: Parameters<RunnerLedger['removeRunner']>[0],
): Promise<void> {
  await db.deleteFrom('runner').where('id', '=', runnerId).execute();
}

export async function listRunners(
  { db }: Database,
  { seenAfterMs, projectId = null }: Parameters<RunnerLedger['listRunners']>[0],
): ReturnType<RunnerLedger['listRunners']> {
  let query = db.selectFrom('runner').selectAll().where('last_seen_at', '>', seenAfterMs);
  if (projectId !== null) {
    query = query.where(({ or, eb }) => or([eb('project_id', 'is', null), eb('project_id', '=', projectId)]));
  }
  const rows = await query.orderBy('id').execute();
  return rows.map((row) => ({
    report: JSON.parse(row.report),
    lastSeenAtMs: row.last_seen_at,
    projectId: row.project_id,
  }));
}
