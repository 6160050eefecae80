/** How many ids an error names. */
const NAMED_IDS = 10;

/** Thrown by the checkers: which invariant broke first, and for which items. Holds ids, never texts of items. */
export class BrokenInvariant extends Error {
  /** `I2`, `I11` … as in the list of invariants. */
  readonly invariant: string;
  /** Every item concerned; the message names the first ten. */
  readonly customIds: readonly string[];

  constructor(invariant: string, problem: string, customIds: readonly string[] = []) {
    super(`${invariant} broken: ${problem}${naming(customIds)}`);
    this.name = 'BrokenInvariant';
    this.invariant = invariant;
    this.customIds = customIds;
  }
}

function naming(customIds: readonly string[]): string {
  if (customIds.length === 0) return '';
  const named = customIds.slice(0, NAMED_IDS).map((id) => JSON.stringify(id));
  const rest = customIds.length - named.length;
  return `: ${named.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
