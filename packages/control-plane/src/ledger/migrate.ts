import { type Kysely, sql } from 'kysely';
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
import { addDeliveryIndex } from './migrations/011-delivery-index.js';
import { addJobProblems } from './migrations/012-job-problems.js';
import { addDispatch } from './migrations/013-dispatch.js';
import { addRunnerIdentity } from './migrations/015-runner-identity.js';
import type { Schema } from './schema.js';

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
    '011-delivery-index': { up: (db) => addDeliveryIndex(db) },
    '012-job-problems': { up: (db) => addJobProblems(db) },
    '013-dispatch': { up: (db) => addDispatch(db) },
    '015-runner-identity': { up: (db) => addRunnerIdentity(db) },
  };
}

/**
 * Brings the schema up to date, one process at a time.
 *
 * Migrations add and leave what older versions use, so a version also starts on a schema that a later one has brought
 * further: that is how control planes of two releases run side by side, and how one goes back. A migration after which
 * older versions must not run writes its number to the row `schema_min_version` of `meta`.
 *
 * @param options.onWaiting another process is at it: called about every 10 seconds
 * @throws when the schema needs a newer version of batch-infer, or a migration fails
 */
export async function migrate(
  database: Database,
  options: { onWaiting?: (seconds: number) => void } = {},
): Promise<void> {
  const known = migrationsFor(database);
  await database.withMigrationLock(async (db) => {
    const later = (await appliedMigrations(db)).filter((name) => !(name in known));
    if (later.length > 0) await refuseIfNewer(db, { newest: Object.keys(known).sort().at(-1) ?? '', later });
    const migrations = { ...known, ...Object.fromEntries(later.map((name) => [name, NOTHING])) };
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => migrations },
      // Neighbouring numbers may be released in either order.
      allowUnorderedMigrations: true,
    });
    const { error, results } = await migrator.migrateToLatest();
    if (error === undefined) return;
    const failed = results?.find((result) => result.status === 'Error')?.migrationName;
    throw new Error(
      `The database could not be brought up to date${failed ? ` (migration ${failed})` : ''}.`,
      { cause: error },
    );
  }, options.onWaiting);
}

/** Of a later version, and applied: there is nothing to do for it. */
const NOTHING: Migration = { up: async () => undefined };

/** Number of the oldest migration that a version must know to run on the schema. */
const MIN_VERSION = 'schema_min_version';

async function refuseIfNewer(
  db: Kysely<Schema>,
  { newest, later }: { newest: string; later: readonly string[] },
): Promise<void> {
  const row = await db.selectFrom('meta').select('value').where('name', '=', MIN_VERSION).executeTakeFirst();
  if (row === undefined || row.value <= Number.parseInt(newest, 10)) return;
  throw new Error(
    `The database was made by a newer version of batch-infer (it has ${later.join(', ')}) and needs at least migration ${row.value}. Upgrade batch-infer, or open another database.`,
  );
}

/** Names in the table that Kysely's migrator keeps; none when it could not be read. */
async function appliedMigrations(db: Kysely<Schema>): Promise<string[]> {
  try {
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db);
    return rows.map((row) => row.name);
  } catch {
    return [];
  }
}
