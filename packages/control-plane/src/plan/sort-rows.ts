import { setImmediate as nextTurn } from 'node:timers/promises';

/** Rows sorted at a stretch: some milliseconds of work. */
const STRETCH = 8_192;

/** Rows looked at once at a stretch. */
const ROWS = 65_536;

/** Lets others have their turn in long loops. */
export class Turns {
  #rows = 0;

  async after(rows: number): Promise<void> {
    this.#rows += rows;
    if (this.#rows < ROWS) return;
    this.#rows = 0;
    await nextTurn();
  }
}

export type CompareRows = (left: number, right: number) => number;

/**
 * Sorts row numbers in place, stably, and lets others have their turn every few milliseconds: a million rows take
 * seconds, and leases must be renewed meanwhile. Needs as much memory again as `rows` has.
 */
export async function sortRows(rows: Uint32Array, compare: CompareRows): Promise<void> {
  if (rows.length <= STRETCH) {
    rows.sort(compare);
    return;
  }
  for (let from = 0; from < rows.length; from += STRETCH) {
    rows.subarray(from, from + STRETCH).sort(compare);
    await nextTurn();
  }
  let source = rows;
  let target: Uint32Array = new Uint32Array(rows.length);
  for (let width = STRETCH; width < rows.length; width *= 2) {
    for (let from = 0; from < rows.length; from += 2 * width) {
      await mergeRuns({ source, target, from, middle: from + width, to: from + 2 * width, compare });
    }
    [source, target] = [target, source];
  }
  if (source !== rows) rows.set(source);
}

async function mergeRuns(params: {
  source: Uint32Array;
  target: Uint32Array;
  from: number;
  middle: number;
  to: number;
  compare: CompareRows;
}): Promise<void> {
  const { source, target, from, compare } = params;
  const middle = Math.min(params.middle, source.length);
  const to = Math.min(params.to, source.length);
  let left = from;
  let right = middle;
  const turns = new Turns();
  for (let at = from; at < to; at += 1) {
    const leftRow = source[left] ?? 0;
    const rightRow = source[right] ?? 0;
    const takesLeft = right >= to || (left < middle && compare(leftRow, rightRow) <= 0);
    target[at] = takesLeft ? leftRow : rightRow;
    if (takesLeft) left += 1;
    else right += 1;
    if ((at & 0xfff) === 0xfff) await turns.after(0x1000);
  }
}
