import type { OfferLaneLedger } from '../ports/offer-lanes.js';
import type { Database } from './dialect.js';

export const offerLaneLedger = ({ db }: Database): OfferLaneLedger => ({
  recordLanes: async ({ lanes, nowMs }) => {
    for (const { lane, model, problem } of lanes) {
      const since = problem === null ? null : nowMs;
      await db
        .insertInto('lane')
        .values({ name: lane, model, used_at: nowMs, problem, problem_since: since })
        .onConflict((conflict) =>
          conflict.column('name').doUpdateSet(({ fn, ref, val }) => ({
            used_at: nowMs,
            problem,
            problem_since: problem === null ? null : fn.coalesce(ref('lane.problem_since'), val(nowMs)),
          })),
        )
        .execute();
    }
  },
  listLaneProblems: async ({ seenAfterMs, limit }) => {
    const rows = await db
      .selectFrom('lane')
      .selectAll()
      .where('problem', 'is not', null)
      .where('used_at', '>=', seenAfterMs)
      .orderBy('name')
      .limit(limit)
      .execute();
    return rows.map(({ name, model, problem, problem_since: sinceMs }) => ({
      lane: name,
      model,
      reason: problem ?? '',
      sinceMs: sinceMs ?? 0,
    }));
  },
  listIdleLanes: async ({ usedBeforeMs, limit }) => {
    const rows = await db
      .selectFrom('lane')
      .select(['model', (lane) => lane.fn.max<number>('used_at').as('used_at')])
      .groupBy('model')
      .having((lane) => lane.fn.max('used_at'), '<', usedBeforeMs)
      .orderBy('used_at')
      .limit(limit)
      .execute();
    return rows.map(({ model }) => model);
  },
  forgetLanes: async ({ model }) => {
    await db.deleteFrom('lane').where('model', '=', model).execute();
  },
});
