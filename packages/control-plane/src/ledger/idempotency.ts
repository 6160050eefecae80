import { LIMITS, newId } from '@batch-infer/contracts';
import type { CreateOutcome, IdempotencyClaim, Ledger } from '../ports/ledger.js';
import type { Database, Session, TransactionSession } from './dialect.js';

/**
 * Creates a record at most once for a claim (I1). Call it first in the transaction: of two creates with one key the
 * second waits here until the first is committed, and then finds it.
 */
export async function createOnce<T>(
  session: TransactionSession,
  params: {
    claim: IdempotencyClaim;
    recordId: string;
    nowMs: number;
    find: (recordId: string) => Promise<T | null>;
    create: () => Promise<T>;
  },
): Promise<CreateOutcome<T>> {
  const earlier = params.claim.key === null ? findByContent(session, params) : findByKey(session, params);
  const found = await earlier;
  if (found === 'conflict') return { outcome: 'conflict' };
  if (found !== null) return { outcome: 'replayed', record: found };
  return { outcome: 'created', record: await params.create() };
}

type Claim<T> = Pick<Parameters<typeof createOnce<T>>[1], 'claim' | 'recordId' | 'nowMs' | 'find'>;

async function findByKey<T>(session: TransactionSession, params: Claim<T>): Promise<T | 'conflict' | null> {
  const { claim, recordId, nowMs } = params;
  const inserted = await session.db
    .insertInto('idempotency')
    .values(rowOf(params))
    .onConflict((conflict) => conflict.columns(['project_id', 'route', 'idempotency_key']).doNothing())
    .executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows === 1n) return null;
  const row = await session.db
    .selectFrom('idempotency')
    .selectAll()
    .where('project_id', '=', claim.projectId)
    .where('route', '=', claim.route)
    .where('idempotency_key', '=', claim.key)
    .$if(session.locksRows, (query) => query.forUpdate())
    .executeTakeFirstOrThrow();
  if (row.fingerprint !== claim.fingerprint) return 'conflict';
  const record = await params.find(row.record_id);
  if (record !== null) return record;
  // What the key named was deleted since: the key names the new record from now on.
  await session.db
    .updateTable('idempotency')
    .set({ record_id: recordId, created_at: nowMs })
    .where('id', '=', row.id)
    .execute();
  return null;
}

async function findByContent<T>(session: TransactionSession, params: Claim<T>): Promise<T | null> {
  const { claim, nowMs } = params;
  // An SDK's retry may arrive while the first attempt is still being committed.
  await session.serialize(`${claim.projectId} ${claim.route} ${claim.fingerprint}`);
  if (claim.isRetry) {
    const row = await session.db
      .selectFrom('idempotency')
      .select(['id', 'record_id'])
      .where('project_id', '=', claim.projectId)
      .where('route', '=', claim.route)
      .where('fingerprint', '=', claim.fingerprint)
      .where('idempotency_key', 'is', null)
      .where('created_at', '>=', nowMs - LIMITS.implicitRetryWindowMs)
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(1)
      .executeTakeFirst();
    const record = row === undefined ? null : await params.find(row.record_id);
    if (row !== undefined && record !== null) {
      // A chain of retries is one request, however long each of them waited.
      await session.db
        .updateTable('idempotency')
        .set({ created_at: nowMs })
        .where('id', '=', row.id)
        .execute();
      return record;
    }
  }
  await session.db.insertInto('idempotency').values(rowOf(params)).execute();
  return null;
}

/** What a create with this claim made before, when it would be recognised; also when that is gone. */
export async function findEarlier(
  { db }: Session,
  claim: IdempotencyClaim,
  nowMs: number,
): Promise<{ recordId: string; createdAtMs: number } | null> {
  if (claim.key === null && !claim.isRetry) return null;
  const row = await db
    .selectFrom('idempotency')
    .select(['record_id', 'created_at'])
    .where('project_id', '=', claim.projectId)
    .where('route', '=', claim.route)
    .where('fingerprint', '=', claim.fingerprint)
    .where('idempotency_key', claim.key === null ? 'is' : '=', claim.key)
    .where('created_at', '>=', claim.key === null ? nowMs - LIMITS.implicitRetryWindowMs : 0)
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? null : { recordId: row.record_id, createdAtMs: row.created_at };
}

function rowOf({ claim, recordId, nowMs }: { claim: IdempotencyClaim; recordId: string; nowMs: number }) {
  return {
    id: newId('req', nowMs),
    project_id: claim.projectId,
    route: claim.route,
    idempotency_key: claim.key,
    fingerprint: claim.fingerprint,
    record_id: recordId,
    created_at: nowMs,
  };
}

export async function forgetIdempotency(
  { db }: Database,
  params: Parameters<Ledger['forgetIdempotency']>[0],
): Promise<void> {
  await db
    .deleteFrom('idempotency')
    .where('idempotency_key', 'is not', null)
    .where('created_at', '<', params.explicitBeforeMs)
    .execute();
  await db
    .deleteFrom('idempotency')
    .where('idempotency_key', 'is', null)
    .where('created_at', '<', params.implicitBeforeMs)
    .execute();
}
