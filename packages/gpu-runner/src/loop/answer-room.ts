/** What answers may take in memory: those that are expected of requests in flight, and those that are not settled yet. */
const ROOM_BYTES = 128 * 1024 * 1024;
/** How much of the largest answer seen is still expected after each further one. */
const REMEMBERED = 0.98;

/** Requests of one kind that are in flight, and how large their answers may be. */
export class AnswerSizes {
  inFlight = 0;
  #largest = 0;

  /** Bytes that one more answer may take. */
  get expected(): number {
    return this.#largest;
  }

  note(bytes: number): void {
    this.#largest = Math.max(bytes, this.#largest * REMEMBERED);
  }
}

/**
 * Whether one more request may be sent: a window counts requests, and a few hundred large answers would end the runner.
 * One request of each kind may always be in flight, unless what is not settled fills the room by itself: the control
 * plane is away then, or slower than the engines.
 */
export function hasRoom(kind: AnswerSizes, all: Iterable<AnswerSizes>, unsettledBytes: number): boolean {
  if (unsettledBytes > ROOM_BYTES) return false;
  if (kind.inFlight === 0) return true;
  let bytes = unsettledBytes + kind.expected;
  for (const { inFlight, expected } of all) bytes += inFlight * expected;
  return bytes <= ROOM_BYTES;
}
