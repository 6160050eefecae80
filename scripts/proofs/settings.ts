/** A setting of a proof from the environment; empty counts as absent. */
export function setting(name: string): string | null {
  const text = process.env[name];
  return text === undefined || text === '' ? null : text;
}

/** A count from the environment, for instance `PROOF_RUNS=50`. */
export function scale(name: string, standard: number): number {
  const value = Number(setting(name) ?? standard);
  if (!Number.isInteger(value) || value < 1) throw new RangeError(`${name} must be a whole number above 0`);
  return value;
}

/** Everything, as before a release, instead of what fits into CI. */
export const isFullRun = (): boolean => setting('PROOF_FULL') !== null;
