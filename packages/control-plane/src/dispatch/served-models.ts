import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';

/**
 * The models that live runners serve, at most `limit`. Runners take turns: one that names thousands leaves the others'
 * models in.
 */
export function servedModels(
  runners: readonly Pick<RunnerReport, 'models'>[],
  limit: number,
): ReadonlySet<string> {
  const served = new Set<string>();
  const longest = runners.reduce((most, { models }) => Math.max(most, models.length), 0);
  for (let index = 0; index < longest; index += 1) {
    for (const { models } of runners) {
      const model = models[index];
      if (model === undefined) continue;
      if (served.size >= limit) return served;
      served.add(model);
    }
  }
  return served;
}
