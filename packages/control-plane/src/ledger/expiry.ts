import { countBits, newId } from '@batch-infer/contracts';
import type { Insertable, Selectable } from 'kysely';
import type { Ledger } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { lockJobAndShard } from './jobs.js';
import { toMask, toShardRecord } from './rows.js';
import type { ShardTable } from './schema.js';
import { afterLostLease, isEmpty, type ShardPart } from './shard-rules.js';
import { finishStopping } from './stopping.js';

type ShardRow = Selectable<ShardTable>;

export async function expireLeases(
  database: Database,
  { nowMs, limit }: Parameters<Ledger['expireLeases']>[0],
): ReturnType<Ledger['expireLeases']> {
  const over = await database.db
    .selectFrom('shard')
    .select(['id', 'job_id', 'epoch'])
    .where('state', '=', 'leased')
    .where('lease_until', '<=', nowMs)
    .orderBy('lease_until')
    .limit(limit)
    .execute();
  const jobIds = new Set<string>();
  let released = 0;
  let bisected = 0;
  for (const { id, job_id: jobId, epoch } of over) {
    const outcome = await expireLease(database, { shardId: id, epoch, nowMs });
    if (outcome === null) continue;
    jobIds.add(jobId);
    released += 1;
    if (outcome === 'bisect') bisected += 1;
  }
  return { released, bisected, poisoned: await listPoisoned(database, limit), jobIds: [...jobIds] };
}

/** What became of the shard; `null` when the lease was renewed or ended meanwhile. */
async function expireLease(
  database: Database,
  params: { shardId: string; epoch: number; nowMs: number },
): Promise<'stopped' | 'ready' | 'bisect' | 'poisoned' | null> {
  return database.transaction(async (session) => {
    const found = await lockJobAndShard(session, params.shardId);
    if (found === null) return null;
    const { job, shard } = found;
    const over = shard.lease_until !== null && shard.lease_until <= params.nowMs;
    if (shard.state !== 'leased' || shard.epoch !== params.epoch || !over) return null;
    const lostLeases = shard.lost_leases + 1;
    const masks = { doneMask: toMask(shard.done_mask), badMask: toMask(shard.bad_mask) };
    const next =
      job.state === 'running'
        ? afterLostLease({ count: shard.items, ...masks, lostLeases })
        : ({ outcome: 'stopped' } as const);
    await session.db
      .updateTable('shard')
      .set({
        state: next.outcome === 'bisect' ? 'split' : next.outcome,
        lost_leases: lostLeases,
        runner_id: null,
        lease_until: null,
        offered_at: null,
      })
      .where('id', '=', shard.id)
      .execute();
    if (next.outcome === 'bisect') {
      await insertParts(
        session,
        { ...shard, lost_leases: lostLeases },
        next.parts.map((part) => ({ ...part, state: 'ready' })),
      );
    }
    await session.db
      .updateTable('job')
      .set({ version: job.version + 1 })
      .where('id', '=', job.id)
      .execute();
    await finishStopping(session, job, params.nowMs);
    return next.outcome;
  });
}

/**
 * Puts parts in the place of a shard that is `split`. Where inside the byte range a part begins is not known, so each
 * part keeps the whole range and the number of items to skip.
 */
export async function insertParts(
  { db }: Session,
  shard: ShardRow,
  parts: readonly (ShardPart & { readonly state: 'ready' | 'stopped' })[],
): Promise<void> {
  const rows = parts.map((part): Insertable<ShardTable> => {
    return {
      ...shard,
      id: newId('shard', shard.job_created_at),
      first_item: shard.first_item + part.from,
      items: part.count,
      skip_items: shard.skip_items + part.from,
      state: part.state,
      epoch: 0,
      done_mask: isEmpty(part.doneMask) ? null : part.doneMask,
      bad_mask: isEmpty(part.badMask) ? null : part.badMask,
      done_items: countBits(part.doneMask),
      runner_id: null,
      lease_until: null,
      offered_at: null,
    };
  });
  await db.insertInto('shard').values(rows).execute();
}

async function listPoisoned({ db }: Database, limit: number): Promise<ShardRecord[]> {
  const rows = await db
    .selectFrom('shard')
    .selectAll()
    .where('state', '=', 'poisoned')
    .orderBy('job_created_at')
    .limit(limit)
    .execute();
  return rows.map(toShardRecord);
}
