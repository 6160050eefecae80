import type { LaneLoad, Ledger } from '../ports/ledger.js';
import type { Database } from './dialect.js';
import { priorityOfRank } from './schema.js';

/**
 * Asked at each look for offers. Jobs that are paused or wait for a budget are not walked through, so that tens of
 * thousands of them cost nothing.
 */
export async function laneLoads(
  { db }: Database,
  { models }: Parameters<Ledger['laneLoads']>[0],
): ReturnType<Ledger['laneLoads']> {
  if (models.length === 0) return { lanes: [], waitForBudget: false };
  const ready = await db
    .selectFrom('job')
    .innerJoin('shard', 'shard.job_id', 'job.id')
    .select(({ fn, eb, ref }) => [
      'shard.model',
      'shard.priority_rank',
      fn.countAll<number>().as('shards'),
      fn.sum<number>(eb('shard.items', '-', ref('shard.done_items'))).as('items'),
    ])
    .where('job.state', 'in', ['queued', 'running'])
    .where('job.held_back', 'is', null)
    .where('job.paused_at', 'is', null)
    .where('shard.state', '=', 'ready')
    .where('shard.model', 'in', models)
    .groupBy(['shard.model', 'shard.priority_rank'])
    .execute();
  const offered = await db
    .selectFrom('shard')
    .select(({ fn }) => ['model', 'priority_rank', fn.countAll<number>().as('shards')])
    .where('state', '=', 'ready')
    .where('offered_at', 'is not', null)
    .where('model', 'in', models)
    .groupBy(['model', 'priority_rank'])
    .execute();
  const held = await db
    .selectFrom('job')
    .select('id')
    .where('state', 'in', ['queued', 'running'])
    .where('held_back', 'is not', null)
    .limit(1)
    .executeTakeFirst();
  const lanes = new Map<string, LaneLoad>();
  for (const { model, priority_rank: rank, shards, items } of ready)
    lanes.set(`${rank} ${model}`, {
      model,
      priority: priorityOfRank(rank),
      readyShards: shards,
      readyItems: items,
      offeredShards: 0,
    });
  for (const { model, priority_rank: rank, shards } of offered) {
    const lane = lanes.get(`${rank} ${model}`);
    // Offers of jobs that are held by now, of a lane without other work: nothing is to be offered there.
    if (lane !== undefined) lanes.set(`${rank} ${model}`, { ...lane, offeredShards: shards });
  }
  return { lanes: [...lanes.values()], waitForBudget: held !== undefined };
}
