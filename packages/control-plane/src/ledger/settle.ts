import type { JobState } from '@batch-infer/contracts';
import { countBits, emptyMask, hasBit, type Mask, orMasks, setBit } from '@batch-infer/contracts';
import type { Selectable } from 'kysely';
import { positionOf } from '../plan/positions.js';
import type { Ledger } from '../ports/ledger.js';
import type { ItemOutcome } from '../ports/records.js';
import type { Database, Session } from './dialect.js';
import { isComplete, isOverErrorLimit, mergeErrorGroups, sumUsage } from './job-rules.js';
import { lockJobAndShard } from './jobs.js';
import { toMask } from './rows.js';
import type { JobRow, ShardTable } from './schema.js';
import { findOrder, indexesFrom } from './shard-order.js';
import { beginStop, finishStopping } from './stopping.js';

type ShardRow = Selectable<ShardTable>;

export async function settle(
  database: Database,
  params: Parameters<Ledger['settle']>[0],
): ReturnType<Ledger['settle']> {
  return database.transaction(async (session) => {
    const found = await lockJobAndShard(session, params.shardId);
    if (found === null || found.shard.epoch !== params.epoch) return { outcome: 'lost' };
    const { job, shard } = found;
    const { indexes } = indexesFrom(
      await findOrder(session, job, shard.ordinal),
      shard.first_item,
      shard.items,
    );
    const fresh = freshOutcomes(shard, indexes, params.outcomes);
    const held = shard.state === 'leased';
    // A repeated settle is answered as well after the lease (I5); a new outcome needs the lease (I3).
    if (!held && fresh.outcomes.length > 0) return { outcome: 'lost' };
    const repeated = params.outcomes.length - fresh.outcomes.length;
    if (fresh.outcomes.length === 0) {
      return {
        outcome: 'settled',
        accepted: 0,
        repeated,
        shardDone: shard.done_items === shard.items,
        stop: !held || job.state !== 'running' || job.paused_at !== null,
        jobId: job.id,
        jobState: job.state,
      };
    }
    const shardDone = await endItems(session, shard, fresh);
    await addSegment(session, { job, shard, fresh, segment: params.segment, nowMs: params.nowMs });
    const jobState = await countItems(session, {
      job,
      outcomes: fresh.outcomes,
      shardDone,
      nowMs: params.nowMs,
    });
    return {
      outcome: 'settled',
      accepted: fresh.outcomes.length,
      repeated,
      shardDone,
      stop: jobState !== 'running' || job.paused_at !== null,
      jobId: job.id,
      jobState,
    };
  });
}

interface Fresh {
  /** Outcomes of items that had not ended, the first of each item. */
  readonly outcomes: readonly ItemOutcome[];
  readonly decided: Mask;
  readonly bad: Mask;
}

function freshOutcomes(
  shard: ShardRow,
  indexes: Uint32Array | undefined,
  outcomes: readonly ItemOutcome[],
): Fresh {
  const done = toMask(shard.done_mask);
  const decided = emptyMask();
  const bad = emptyMask();
  const fresh: ItemOutcome[] = [];
  for (const outcome of outcomes) {
    const position = positionOf({ first: shard.first_item, ...(indexes && { indexes }) }, outcome.index);
    if (!Number.isInteger(position) || position < 0 || position >= shard.items) {
      throw new RangeError(`Item ${outcome.index} is not in shard ${shard.id}.`);
    }
    if (hasBit(done, position) || hasBit(decided, position)) continue;
    setBit(decided, position);
    if (!outcome.ok) setBit(bad, position);
    fresh.push(outcome);
  }
  return { outcomes: fresh, decided, bad };
}

async function endItems({ db }: Session, shard: ShardRow, fresh: Fresh): Promise<boolean> {
  const doneMask = orMasks(toMask(shard.done_mask), fresh.decided);
  const doneItems = countBits(doneMask);
  const shardDone = doneItems === shard.items;
  await db
    .updateTable('shard')
    .set({
      done_mask: doneMask,
      bad_mask: orMasks(toMask(shard.bad_mask), fresh.bad),
      done_items: doneItems,
      ...(shardDone ? { state: 'done' as const, runner_id: null, lease_until: null } : {}),
    })
    .where('id', '=', shard.id)
    .execute();
  return shardDone;
}

async function addSegment(
  { db }: Session,
  params: {
    job: JobRow;
    shard: ShardRow;
    fresh: Fresh;
    segment: { blobKey: string; bytes: number };
    nowMs: number;
  },
): Promise<void> {
  const { job, shard, fresh, segment } = params;
  const usage = sumUsage(fresh.outcomes);
  await db
    .insertInto('segment')
    .values({
      job_id: job.id,
      sequence: job.segment_sequence + 1,
      shard_id: shard.id,
      ordinal: shard.ordinal,
      blob_key: segment.blobKey,
      bytes: segment.bytes,
      first_item: shard.first_item,
      decided: fresh.decided,
      items: fresh.outcomes.length,
      input_tokens: usage.inputTokens,
      cached_input_tokens: usage.cachedInputTokens,
      output_tokens: usage.outputTokens,
      reasoning_tokens: usage.reasoningTokens,
      settled_at: params.nowMs,
    })
    .execute();
}

async function countItems(
  session: Session,
  params: { job: JobRow; outcomes: readonly ItemOutcome[]; shardDone: boolean; nowMs: number },
): Promise<JobState> {
  const { job, outcomes, nowMs } = params;
  const failures = outcomes.filter((outcome) => !outcome.ok);
  const usage = sumUsage(outcomes);
  const counted: JobRow = {
    ...job,
    succeeded: job.succeeded + outcomes.length - failures.length,
    failed: job.failed + failures.length,
    input_tokens: job.input_tokens + usage.inputTokens,
    cached_input_tokens: job.cached_input_tokens + usage.cachedInputTokens,
    output_tokens: job.output_tokens + usage.outputTokens,
    reasoning_tokens: job.reasoning_tokens + usage.reasoningTokens,
    segment_sequence: job.segment_sequence + 1,
    version: job.version + 1,
    error_groups:
      failures.length === 0
        ? job.error_groups
        : JSON.stringify(mergeErrorGroups(JSON.parse(job.error_groups), failures)),
  };
  const complete = job.state === 'running' && isComplete(counted);
  const overLimit =
    job.state === 'running' && isOverErrorLimit({ ...counted, maxErrorRate: counted.max_error_rate });
  await session.db
    .updateTable('job')
    .set({
      succeeded: counted.succeeded,
      failed: counted.failed,
      input_tokens: counted.input_tokens,
      cached_input_tokens: counted.cached_input_tokens,
      output_tokens: counted.output_tokens,
      reasoning_tokens: counted.reasoning_tokens,
      segment_sequence: counted.segment_sequence,
      version: counted.version,
      ...(failures.length === 0 ? {} : { error_groups: counted.error_groups }),
      ...(complete && !overLimit
        ? {
            state: 'finalizing' as const,
            finalizing_at: nowMs,
            // Items that a retry left out keep the reason for which they were not run.
            end_reason: job.excluded > 0 ? job.excluded_reason : ('completed' as const),
          }
        : {}),
    })
    .where('id', '=', job.id)
    .execute();
  if (overLimit) return (await beginStop(session, counted, 'error_limit', nowMs)).state;
  if (complete) return 'finalizing';
  if (params.shardDone && (await finishStopping(session, counted, nowMs))) return 'finalizing';
  return job.state;
}
