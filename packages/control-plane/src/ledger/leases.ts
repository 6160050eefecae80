import type { ExpressionBuilder, Selectable } from 'kysely';
import type { Ledger, RenewedLease } from '../ports/ledger.js';
import type { ShardRecord } from '../ports/records.js';
import { isHolder } from '../ports/runners.js';
import type { Database, Session } from './dialect.js';
import { lockJobAndShard } from './jobs.js';
import { toJobRecord, toShardRecord } from './rows.js';
import { CLAIMABLE, type Schema, type ShardTable } from './schema.js';
import { findOrder, JOINED_ORDER } from './shard-order.js';
import { finishStopping } from './stopping.js';

export async function claimShard(
  database: Database,
  params: Parameters<Ledger['claimShard']>[0],
): ReturnType<Ledger['claimShard']> {
  return database.transaction(async (session) => {
    const found = await lockJobAndShard(session, params.shardId);
    if (found === null) return { outcome: 'refused', reason: 'unknown' };
    const { job, shard } = found;
    // I12: no shard of a job that is being stopped starts.
    if (job.state !== 'queued' && job.state !== 'running') return { outcome: 'refused', reason: 'ended' };
    // For good: after the resume its shards are offered again. A busy answer would keep the lane waiting.
    if (job.paused_at !== null) return { outcome: 'refused', reason: 'stale' };
    // The answer to the first claim was lost: the lease that its runner was given is the one that it asks for.
    const keyId = params.keyId ?? null;
    const isRepeated =
      shard.state === 'leased' &&
      shard.runner_id === params.runnerId &&
      shard.epoch === params.epoch + 1 &&
      isHolder(holderOf(shard), keyId);
    if (!isRepeated && (!CLAIMABLE.includes(shard.state) || shard.epoch !== params.epoch)) {
      return { outcome: 'refused', reason: 'stale' };
    }
    const lease = {
      state: 'leased',
      epoch: params.epoch + 1,
      runner_id: params.runnerId,
      holder_key_id: isRepeated ? holderOf(shard) : keyId,
      holder_epoch: params.epoch + 1,
      lease_until: params.nowMs + params.leaseMs,
      leased_at: isRepeated ? shard.leased_at : params.nowMs,
    } as const;
    await session.db.updateTable('shard').set(lease).where('id', '=', shard.id).execute();
    const progress = {
      state: 'running',
      started_at: job.started_at ?? params.nowMs,
      version: job.version + 1,
    } as const;
    await session.db.updateTable('job').set(progress).where('id', '=', job.id).execute();
    return {
      outcome: 'claimed',
      shard: toShardRecord({ ...shard, ...lease, ...(await findOrder(session, job, shard.ordinal)) }),
      job: toJobRecord({ ...job, ...progress }),
    };
  });
}

const holderOf = ({
  epoch,
  holder_epoch: heldAt,
  holder_key_id: keyId,
}: Pick<Selectable<ShardTable>, 'epoch' | 'holder_epoch' | 'holder_key_id'>): string | null =>
  heldAt === epoch ? keyId : null;

export async function getShard(
  { db }: Database,
  { shardId }: Parameters<Ledger['getShard']>[0],
): Promise<ShardRecord | null> {
  const row = await db
    .selectFrom('shard')
    .leftJoin('shard_order', (join) =>
      join
        .onRef('shard_order.job_id', '=', 'shard.job_id')
        .onRef('shard_order.ordinal', '=', 'shard.ordinal'),
    )
    .selectAll('shard')
    .select(JOINED_ORDER)
    .where('shard.id', '=', shardId)
    .executeTakeFirst();
  return row === undefined ? null : toShardRecord(row);
}

export async function renewLeases(
  database: Database,
  { runnerId, keyId = null, leases, leaseMs, nowMs }: Parameters<Ledger['renewLeases']>[0],
): ReturnType<Ledger['renewLeases']> {
  if (leases.length === 0) return [];
  return database.transaction(async (session) => {
    const mine = ({ eb, and, or, ref }: ExpressionBuilder<Schema, 'shard'>) =>
      and([
        eb('state', '=', 'leased'),
        eb('runner_id', '=', runnerId),
        ...(keyId === null
          ? []
          : [
              or([
                eb('holder_key_id', 'is', null),
                eb('holder_key_id', '=', keyId),
                eb('holder_epoch', '!=', ref('epoch')),
              ]),
            ]),
        or(leases.map((lease) => and([eb('id', '=', lease.shardId), eb('epoch', '=', lease.epoch)]))),
      ]);
    if (session.locksRows) {
      // In a fixed order, so that two renewals never wait for each other.
      await session.db.selectFrom('shard').select('id').where(mine).orderBy('id').forUpdate().execute();
    }
    const renewed = await session.db
      .updateTable('shard')
      .set({ lease_until: nowMs + leaseMs })
      .where(mine)
      .returning(['id', 'epoch', 'job_id'])
      .execute();
    const jobs = await jobsOf(session, [...new Set(renewed.map((shard) => shard.job_id))]);
    const byId = new Map(renewed.map((shard) => [shard.id, shard]));
    return leases.map(({ shardId, epoch }): RenewedLease => {
      const shard = byId.get(shardId);
      const job = shard === undefined ? undefined : jobs.get(shard.job_id);
      if (shard?.epoch !== epoch || job === undefined) return { shardId, epoch, status: 'lost' };
      const goesOn = job.state === 'running' && job.paused_at === null;
      return { shardId, epoch, status: goesOn ? 'held' : 'stop', expiresAtMs: job.expires_at };
    });
  });
}

async function jobsOf({ db }: Session, jobIds: readonly string[]) {
  if (jobIds.length === 0) return new Map<string, never>();
  const rows = await db
    .selectFrom('job')
    .select(['id', 'state', 'paused_at', 'expires_at'])
    .where('id', 'in', jobIds)
    .execute();
  return new Map(rows.map((row) => [row.id, row]));
}

export async function releaseShard(
  database: Database,
  { shardId, epoch, keyId = null, isLost = false, nowMs }: Parameters<Ledger['releaseShard']>[0],
): Promise<boolean> {
  return database.transaction(async (session) => {
    const found = await lockJobAndShard(session, shardId);
    if (found === null) return false;
    const { job, shard } = found;
    if (shard.state !== 'leased' || shard.epoch !== epoch || !isHolder(holderOf(shard), keyId)) return false;
    if (isLost) {
      await session.db.updateTable('shard').set({ lease_until: nowMs }).where('id', '=', shardId).execute();
      return true;
    }
    await session.db
      .updateTable('shard')
      .set({
        state: job.state === 'running' ? 'ready' : 'stopped',
        runner_id: null,
        lease_until: null,
        offered_at: null,
      })
      .where('id', '=', shardId)
      .execute();
    await session.db
      .updateTable('job')
      .set({ version: job.version + 1 })
      .where('id', '=', job.id)
      .execute();
    await finishStopping(session, job, nowMs);
    return true;
  });
}

export async function expireRunner(
  database: Database,
  { runnerId, nowMs }: Parameters<Ledger['expireRunner']>[0],
): Promise<number> {
  return database.transaction(async ({ db, locksRows }) => {
    // In the order of their ids, as all lock them that lock several.
    const leased = await db
      .selectFrom('shard')
      .select('id')
      .where('state', '=', 'leased')
      .where('runner_id', '=', runnerId)
      .where('lease_until', '>', nowMs)
      .orderBy('id')
      .$if(locksRows, (query) => query.forUpdate())
      .execute();
    let expired = 0;
    for (const { id } of leased) {
      const { numUpdatedRows } = await db
        .updateTable('shard')
        .set({ lease_until: nowMs })
        .where('id', '=', id)
        .where('state', '=', 'leased')
        .where('runner_id', '=', runnerId)
        .where('lease_until', '>', nowMs)
        .executeTakeFirst();
      expired += Number(numUpdatedRows);
    }
    return expired;
  });
}
