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

/** An ended item as its line of a segment. */
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

export const lineOf = (header: SegmentHeader, body: Uint8Array): OutcomeLine => [
  Buffer.from(segmentLineHead(header)),
  body,
  LINE_FEED,
];
