import { sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import type { Database } from './dialect.js';
import { createInitialSchema } from './migrations/001-initial.js';
import { addAccess } from './migrations/002-access.js';
import { addUploads } from './migrations/003-uploads.js';
import { addPlan } from './migrations/004-plan.js';
import { addPause } from './migrations/005-control.js';
import { addWebhooks } from './migrations/006-webhooks.js';
import { addProjectLimits } from './migrations/007-limits.js';
import { addReuse } from './migrations/008-reuse.js';
import { addRequestBudget } from './migrations/009-request-budget.js';
import { addJobProblems } from './migrations/012-job-problems.js';
import { addDispatch } from './migrations/013-dispatch.js';

/** Every migration by its number; a released one never changes. */
function migrationsFor(database: Database): Record<string, Migration> {
  return {
    '001-initial': { up: (db) => createInitialSchema(db, database.maskType) },
    '002-access': { up: (db) => addAccess(db, Date.now()) },
    '003-uploads': { up: (db) => addUploads(db) },
    '004-plan': { up: (db) => addPlan(db, database.maskType) },
    '005-control': { up: (db) => addPause(db) },
    '006-webhooks': { up: (db) => addWebhooks(db) },
    '007-limits': { up: (db) => addProjectLimits(db) },
    '008-reuse': { up: (db) => addReuse(db, database.maskType) },
    '009-request-budget': { up: (db) => addRequestBudget(db) },
    '012-job-problems': { up: (db) => addJobProblems(db) },
    '013-dispatch': { up: (db) => addDispatch(db) },
  };
}

/**
 * Brings the schema up to date, one process at a time.
 * @throws when the schema was made by a newer version of batch-infer, or a migration fails
 */
export async function migrate(database: Database): Promise<void> {
  const migrations = migrationsFor(database);
  await database.withMigrationLock(async () => {
    const migrator = new Migrator({ db: database.db, provider: { getMigrations: async () => migrations } });
    const { error, results } = await migrator.migrateToLatest();
    if (error === undefined) return;
    const unknown = (await appliedMigrations(database)).filter((name) => !(name in migrations));
    if (unknown.length > 0) {
      throw new Error(
        `The database was made by a newer version of batch-infer (it has ${unknown.join(', ')}). Upgrade batch-infer, or open another database.`,
        { cause: error },
      );
    }
    const failed = results?.find((result) => result.status === 'Error')?.migrationName;
    throw new Error(
      `The database could not be brought up to date${failed ? ` (migration ${failed})` : ''}.`,
      {
        cause: error,
      },
    );
  });
}

/** Names in the table that Kysely's migrator keeps; none when it could not be read. */
async function appliedMigrations(database: Database): Promise<string[]> {
  try {
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(database.db);
    return rows.map((row) => row.name);
  } catch {
    return [];
  }
}
