import type { Ledger } from '../ports/ledger.js';
import type { Database, Session } from './dialect.js';
import { OPEN_STATES } from './states.js';

const FORGIVEN_UNTIL = 'outage_forgiven_until';
const ALIVE_AT = 'alive_at';
const ALIVE_INTERVAL_MS = 4_000;

export async function forgiveOutage(
  database: Database,
  { leaseMs, outageMs, nowMs }: Parameters<Ledger['forgiveOutage']>[0],
): Promise<void> {
  await database.transaction(async (session) => {
    await session.serialize(FORGIVEN_UNTIL);
    const { db } = session;
    // Jobs before shards, as everybody locks them, and each in the order of its id.
    await lockOpenJobs(session);
    await lockLeasedShards(session);
    await db
      .updateTable('shard')
      .set({ lease_until: nowMs + leaseMs })
      .where('state', '=', 'leased')
      .where('lease_until', '<', nowMs + leaseMs)
      .execute();
    const from = Math.max(nowMs - outageMs, (await readMeta(session, FORGIVEN_UNTIL)) ?? 0);
    if (from >= nowMs) return;
    await db
      .updateTable('job')
      .set((expression) => ({
        expires_at: expression('expires_at', '+', nowMs - from),
        version: expression('version', '+', 1),
      }))
      .where('state', 'in', OPEN_STATES)
      .execute();
    await writeMeta(session, FORGIVEN_UNTIL, nowMs);
    await writeMeta(session, ALIVE_AT, nowMs);
  });
}

export const lastAliveMs = (database: Database): Promise<number | null> => readMeta(database, ALIVE_AT);

export async function markAlive(
  database: Database,
  { nowMs }: Parameters<Ledger['markAlive']>[0],
): Promise<void> {
  const aliveMs = await lastAliveMs(database);
  if (aliveMs !== null && nowMs - aliveMs < ALIVE_INTERVAL_MS) return;
  await database.transaction((session) => writeMeta(session, ALIVE_AT, nowMs));
}

async function lockOpenJobs({ db, locksRows }: Session): Promise<void> {
  if (!locksRows) return;
  await db
    .selectFrom('job')
    .select((expression) => expression.lit(1).as('locked'))
    .where('state', 'in', OPEN_STATES)
    .orderBy('id')
    .forUpdate()
    .execute();
}

async function lockLeasedShards({ db, locksRows }: Session): Promise<void> {
  if (!locksRows) return;
  await db
    .selectFrom('shard')
    .select((expression) => expression.lit(1).as('locked'))
    .where('state', '=', 'leased')
    .orderBy('id')
    .forUpdate()
    .execute();
}

async function readMeta({ db }: Session, name: string): Promise<number | null> {
  const row = await db.selectFrom('meta').select('value').where('name', '=', name).executeTakeFirst();
  return row?.value ?? null;
}

/** Values of `meta` that only grow. */
async function writeMeta({ db }: Session, name: string, value: number): Promise<void> {
  await db
    .insertInto('meta')
    .values({ name, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }).where('meta.value', '<', value))
    .execute();
}
