import { BrokenInvariant } from './broken-invariant.js';
import { type EndedItem, type ItemEnd, readResultLine } from './result-line.js';

/** Counts as the service states them. */
export interface StatedCounts {
  readonly total: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly expired: number;
}

export interface OutcomeInput {
  /** Of every accepted item, in input order. */
  readonly inputCustomIds: readonly string[];
  /** Lines of the output file: text or parsed. */
  readonly outputLines: readonly unknown[];
  /** Lines of the error file: text or parsed. */
  readonly errorLines: readonly unknown[];
  /** Checked against the lines when given. */
  readonly counts?: StatedCounts;
}

/**
 * I2 for an ended job: every accepted item stands in exactly one of output and error file, the output file holds
 * successes only and the error file none, and the counts add up.
 * @returns how many items ended in which way.
 * @throws {BrokenInvariant} naming the first thing that is wrong.
 */
export function checkOutcome(input: OutcomeInput): StatedCounts {
  const output = input.outputLines.map(readResultLine);
  const errors = input.errorLines.map(readResultLine);
  expectNone(
    'failed items in the output file',
    output.filter(({ end }) => end !== 'succeeded'),
  );
  expectNone(
    'succeeded items in the error file',
    errors.filter(({ end }) => end === 'succeeded'),
  );
  return checkEnds(input.inputCustomIds, [...output, ...errors], input.counts);
}

/** I2 for one list of results, as the native API and Anthropic's give it. */
export function checkResults(input: {
  readonly inputCustomIds: readonly string[];
  readonly resultLines: readonly unknown[];
  readonly counts?: StatedCounts;
}): StatedCounts {
  return checkEnds(input.inputCustomIds, input.resultLines.map(readResultLine), input.counts);
}

/**
 * Lines stand in the order of the input (lines of other files may lie between).
 * @throws {BrokenInvariant} naming the first line out of order.
 */
export function checkInputOrder(inputCustomIds: readonly string[], lines: readonly unknown[]): void {
  const position = new Map(inputCustomIds.map((id, index) => [id, index]));
  let before = -1;
  for (const { customId } of lines.map(readResultLine)) {
    const here = position.get(customId) ?? -1;
    if (here <= before) throw new BrokenInvariant('I11', 'lines are not in input order', [customId]);
    before = here;
  }
}

function checkEnds(
  inputCustomIds: readonly string[],
  ended: readonly EndedItem[],
  stated: StatedCounts | undefined,
): StatedCounts {
  const input = new Set(inputCustomIds);
  if (input.size !== inputCustomIds.length) {
    throw new BrokenInvariant('I2', 'custom ids in the input are not unique', doubles(inputCustomIds));
  }
  const ids = ended.map(({ customId }) => customId);
  expectNoIds('items with more than one terminal record', doubles(ids));
  expectNoIds(
    'items that were never accepted',
    ids.filter((id) => !input.has(id)),
  );
  const seen = new Set(ids);
  expectNoIds(
    'items without a terminal record',
    inputCustomIds.filter((id) => !seen.has(id)),
  );

  const counted: Record<ItemEnd, number> = { succeeded: 0, failed: 0, cancelled: 0, expired: 0 };
  for (const { end } of ended) counted[end] += 1;
  const counts = { total: inputCustomIds.length, ...counted };
  if (stated !== undefined) checkCounts(counts, stated);
  return counts;
}

function checkCounts(counted: StatedCounts, stated: StatedCounts): void {
  for (const name of ['total', 'succeeded', 'failed', 'cancelled', 'expired'] as const) {
    if (counted[name] !== stated[name]) {
      throw new BrokenInvariant('I2', `counts.${name} is ${stated[name]}, the lines say ${counted[name]}`);
    }
  }
}

function doubles(ids: readonly string[]): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) twice.add(id);
    seen.add(id);
  }
  return [...twice];
}

function expectNone(problem: string, items: readonly EndedItem[]): void {
  expectNoIds(
    problem,
    items.map(({ customId }) => customId),
  );
}

function expectNoIds(problem: string, ids: readonly string[]): void {
  if (ids.length > 0) throw new BrokenInvariant('I2', problem, ids);
}
