import { BrokenInvariant } from './broken-invariant.js';
import { readResultLine } from './result-line.js';

/**
 * I11, first half: two runs of one input gave the same set of results, in whatever order. By default an item's end
 * and error code are compared.
 * @param contentOf adds something of each parsed line to the comparison, for instance the answer's text.
 * @throws {BrokenInvariant} naming the items that differ.
 */
export function checkSameSet(
  first: readonly unknown[],
  second: readonly unknown[],
  contentOf: (line: unknown) => unknown = () => null,
): void {
  const one = resultsById(first, contentOf);
  const other = resultsById(second, contentOf);
  const missing = [...one.keys()].filter((id) => !other.has(id));
  if (missing.length > 0) throw new BrokenInvariant('I11', 'items in the first set only', missing);
  const added = [...other.keys()].filter((id) => !one.has(id));
  if (added.length > 0) throw new BrokenInvariant('I11', 'items in the second set only', added);
  const different = [...one].filter(([id, result]) => other.get(id) !== result).map(([id]) => id);
  if (different.length > 0) throw new BrokenInvariant('I11', 'items that ended differently', different);
}

/**
 * I11, second half: a file made again has the same bytes.
 * @throws {BrokenInvariant} naming the first differing byte and its line (counted from 1).
 */
export function checkByteIdentical(first: Uint8Array | string, second: Uint8Array | string): void {
  const one = Buffer.from(first);
  const other = Buffer.from(second);
  if (one.equals(other)) return;
  const length = Math.min(one.length, other.length);
  let offset = 0;
  while (offset < length && one[offset] === other[offset]) offset += 1;
  let line = 1;
  for (let index = 0; index < offset; index += 1) if (one[index] === 10) line += 1;
  const sizes = one.length === other.length ? '' : ` (${one.length} and ${other.length} bytes)`;
  throw new BrokenInvariant('I11', `files differ at byte ${offset}, line ${line}${sizes}`);
}

function resultsById(lines: readonly unknown[], contentOf: (line: unknown) => unknown): Map<string, string> {
  const results = new Map<string, string>();
  const twice: string[] = [];
  for (const line of lines) {
    const value: unknown = typeof line === 'string' ? JSON.parse(line) : line;
    const { customId, end, code } = readResultLine(value);
    if (results.has(customId)) twice.push(customId);
    results.set(customId, JSON.stringify([end, code, contentOf(value)]));
  }
  if (twice.length > 0) throw new BrokenInvariant('I11', 'items more than once in one set', twice);
  return results;
}
