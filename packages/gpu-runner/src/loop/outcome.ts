import { itemError, type SegmentHeader, segmentLineHead } from '@batch-infer/contracts';
import type { Failure, Success } from '../engine/classify.js';
import type { WorkItem } from '../work/item.js';
import type { OutcomeLine } from './settler.js';

export interface Outcome {
  readonly item: WorkItem;
  readonly verdict: Success | Failure;
  /** Charged attempts, the last one included. */
  readonly attempts: number;
  /** Milliseconds of the last attempt. */
  readonly ms: number;
  readonly requestId: string;
}

/** The same answer for an identical request that did not run: no attempt, and no tokens of its own. */
export const reusedBy = (item: WorkItem, outcome: Outcome, verdict: Success): Outcome => ({
  ...outcome,
  item,
  verdict: { ...verdict, usage: undefined },
  attempts: 0,
  ms: 0,
});

/** An item that has ended, as it is handed over. */
export function segmentLineOf({ item, verdict, attempts, ms, requestId }: Outcome): OutcomeLine {
  const common = {
    i: item.index,
    c: item.customId,
    st: verdict.status,
    a: attempts,
    ms: Math.round(ms),
    r: requestId,
  };
  const header: SegmentHeader = verdict.ok
    ? { ...common, ok: true, ...(verdict.usage === undefined ? {} : { u: verdict.usage }) }
    : { ...common, ok: false, e: itemError(verdict.code, verdict.message) };
  return lineOf(header, verdict.body);
}

const LINE_FEED = Buffer.from('\n');
const EMPTY = new Uint8Array(0);

/**
 * A line with what stands in its place should the control plane not take it: the same item, failed, without the answer.
 * There is nothing in that line's place.
 */
export function lineOf(header: SegmentHeader, body: Uint8Array): OutcomeLine {
  const { i, c, st, a, ms, r } = header;
  return {
    pieces: [Buffer.from(segmentLineHead(header)), body, LINE_FEED],
    ok: header.ok,
    asFailure: (reason) => ({
      ...lineOf({ i, c, ok: false, st, a, ms, r, e: refusedOutcome(reason) }, EMPTY),
      asFailure: null,
    }),
  };
}

const refusedOutcome = (reason: string) =>
  itemError('invalid_response', `The outcome could not be handed over: ${reason}`);
