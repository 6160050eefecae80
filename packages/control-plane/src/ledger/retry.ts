import { countBits, isTerminal, minusMask } from '@batch-infer/contracts';
import type { Insertable, Selectable } from 'kysely';
import type { Ledger } from '../ports/ledger.js';
import type { Database, Session } from './dialect.js';
import { insertParts } from './expiry.js';
import { lockFile } from './files.js';
import { neverRunStatus } from './job-rules.js';
import { lockJob } from './jobs.js';
import { NO_PROBLEM, toJobRecord, toMask } from './rows.js';
import type { JobTable, SegmentTable, ShardTable } from './schema.js';
import { isEmpty, overlap, planRetry, type RetryPlan } from './shard-rules.js';

type ShardRow = Selectable<ShardTable>;

export async function retryJob(
  database: Database,
  params: Parameters<Ledger['retryJob']>[0],
): ReturnType<Ledger['retryJob']> {
  return database.transaction(async (session) => {
    const job = await lockJob(session, params.id);
    if (job === null || job.project_id !== params.projectId) return null;
    if (!isTerminal(job.state)) return { outcome: 'running' };
    const retry = {
      failed: params.statuses.includes('failed'),
      neverRun: params.statuses.includes(neverRunStatus(job.end_reason)),
    };
    const input = await lockFile(session, { projectId: job.project_id, id: job.input_file_id });
    if (input === null) return { outcome: 'input_gone' };
    const { items, reopened, excluded } = await reopenItems(session, job.id, retry);
    if (items === 0) return { outcome: 'nothing' };
    const change = {
      state: 'queued' as const,
      failed: job.failed - reopened,
      cancelled: job.end_reason === 'expired' ? 0 : excluded,
      expired: job.end_reason === 'expired' ? excluded : 0,
      excluded,
      excluded_reason: excluded > 0 ? job.end_reason : null,
      // A retry of failed items runs all of them.
      ...(retry.failed ? { error_groups: '[]' } : {}),
      end_reason: null,
      paused_at: null,
      output_file_id: null,
      error_file_id: null,
      finalize_owner: null,
      finalize_until: null,
      ...NO_PROBLEM,
      ids_blob_key: null,
      queued_at: params.nowMs,
      finalizing_at: null,
      cancelling_at: null,
      finished_at: null,
      expires_at: params.expiresAtMs,
      version: job.version + 1,
    };
    await session.db.updateTable('job').set(change).where('id', '=', job.id).execute();
    const row: Selectable<JobTable> = { ...job, ...change };
    const obsoleteFileIds = [job.output_file_id, job.error_file_id].filter((id) => id !== null);
    return { outcome: 'retrying', job: toJobRecord(row), items, obsoleteFileIds };
  });
}

/** Original shards handled at once: bounds the rows in memory. */
const ORDINALS_AT_ONCE = 256;

async function reopenItems(
  session: Session,
  jobId: string,
  retry: { failed: boolean; neverRun: boolean },
): Promise<{ items: number; reopened: number; excluded: number }> {
  const totals = { items: 0, reopened: 0, excluded: 0 };
  for (let from = 0; ; from += ORDINALS_AT_ONCE) {
    const shards = await session.db
      .selectFrom('shard')
      .selectAll()
      .where('job_id', '=', jobId)
      .where('ordinal', '>=', from)
      .where('ordinal', '<', from + ORDINALS_AT_ONCE)
      .where('state', '!=', 'split')
      .orderBy('ordinal')
      .orderBy('first_item')
      .execute();
    if (shards.length === 0) return totals;
    const changes = shards.map((shard) => {
      const items = {
        count: shard.items,
        doneMask: toMask(shard.done_mask),
        badMask: toMask(shard.bad_mask),
      };
      return { shard, plan: planRetry(items, retry) };
    });
    for (const { plan } of changes) {
      totals.items += plan.items;
      totals.excluded += plan.excluded;
    }
    const toRun = changes.filter(({ plan }) => plan.items > 0);
    totals.reopened += await forgetOldLines(session, jobId, toRun);
    await replaceShards(session, toRun);
  }
}

interface ShardChange {
  readonly shard: ShardRow;
  readonly plan: RetryPlan;
}

/** Clears the reopened items in the segments that had decided them; how many there were. */
async function forgetOldLines(
  session: Session,
  jobId: string,
  changes: readonly ShardChange[],
): Promise<number> {
  const reopened = changes.filter(({ plan }) => !isEmpty(plan.reopened));
  const ordinals = reopened.map(({ shard }) => shard.ordinal);
  if (ordinals.length === 0) return 0;
  const segments = await session.db
    .selectFrom('segment')
    .selectAll()
    .where('job_id', '=', jobId)
    .where('ordinal', '>=', Math.min(...ordinals))
    .where('ordinal', '<=', Math.max(...ordinals))
    .execute();
  const changed = new Map<number, Selectable<SegmentTable>>();
  let count = 0;
  const byOrdinal = Map.groupBy(segments, (segment) => segment.ordinal);
  for (const { shard, plan } of reopened) {
    for (const segment of byOrdinal.get(shard.ordinal) ?? []) {
      const current = changed.get(segment.sequence) ?? segment;
      const decided = toMask(current.decided);
      const gone = overlap(decided, segment.first_item, plan.reopened, shard.first_item);
      if (isEmpty(gone)) continue;
      changed.set(segment.sequence, { ...current, decided: minusMask(decided, gone) });
    }
    count += countBits(plan.reopened);
  }
  await upsert(session, 'segment', [...changed.values()]);
  return count;
}

async function replaceShards(session: Session, changes: readonly ShardChange[]): Promise<void> {
  const whole: ShardRow[] = [];
  for (const { shard, plan } of changes) {
    const fresh = { ...shard, lost_leases: 0, runner_id: null, lease_until: null, offered_at: null };
    const [only, ...others] = plan.parts;
    if (only !== undefined && others.length === 0) {
      whole.push({
        ...fresh,
        state: 'ready',
        done_mask: only.doneMask,
        bad_mask: only.badMask,
        done_items: shard.items - plan.items,
      });
    } else {
      whole.push({ ...fresh, state: 'split' });
      await insertParts(
        session,
        fresh,
        plan.parts.map((part) => ({ ...part, state: part.run ? 'ready' : 'stopped' })),
      );
    }
  }
  await upsert(session, 'shard', whole);
}

/** Rows of one statement: few enough for its variables. */
const ROWS_AT_ONCE = 128;

/** Writes many changed rows in few statements; all of them exist. */
async function upsert(
  session: Session,
  table: 'segment',
  rows: readonly Selectable<SegmentTable>[],
): Promise<void>;
async function upsert(session: Session, table: 'shard', rows: readonly ShardRow[]): Promise<void>;
async function upsert(
  { db }: Session,
  table: 'segment' | 'shard',
  rows: readonly (Selectable<SegmentTable> | ShardRow)[],
): Promise<void> {
  for (let start = 0; start < rows.length; start += ROWS_AT_ONCE) {
    const chunk = rows.slice(start, start + ROWS_AT_ONCE);
    if (table === 'segment') {
      await db
        .insertInto('segment')
        .values(chunk as Insertable<SegmentTable>[])
        .onConflict((conflict) =>
          conflict
            .columns(['job_id', 'sequence'])
            .doUpdateSet((expression) => ({ decided: expression.ref('excluded.decided') })),
        )
        .execute();
    } else {
      await db
        .insertInto('shard')
        .values(chunk as Insertable<ShardTable>[])
        .onConflict((conflict) =>
          conflict.column('id').doUpdateSet((expression) => ({
            state: expression.ref('excluded.state'),
            done_mask: expression.ref('excluded.done_mask'),
            bad_mask: expression.ref('excluded.bad_mask'),
            done_items: expression.ref('excluded.done_items'),
            lost_leases: expression.ref('excluded.lost_leases'),
            runner_id: expression.ref('excluded.runner_id'),
            lease_until: expression.ref('excluded.lease_until'),
            offered_at: expression.ref('excluded.offered_at'),
          })),
        )
        .execute();
    }
  }
}
