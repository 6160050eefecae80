/** What answers may take in memory while they arrive, of all engines of this process. */
const ROOM_BYTES = 96 * 1024 * 1024;

/** A connection that an answer comes by. */
export interface Source {
  pause(): void;
  resume(): void;
}

/**
 * A bound on the bytes of answers that arrive at once: how large they are is not known before the first ones are there.
 * Beyond it only the oldest is read on; the others wait in their sockets, and engines feel it as a slow client.
 */
export class ArrivingAnswers {
  readonly #roomBytes: number;
  /** By the time of their first byte. */
  readonly #arriving = new Map<Source, number>();
  readonly #paused = new Set<Source>();
  #bytes = 0;

  constructor(roomBytes = ROOM_BYTES) {
    this.#roomBytes = roomBytes;
  }

  /** Bytes have come. */
  add(source: Source, bytes: number): void {
    this.#arriving.set(source, (this.#arriving.get(source) ?? 0) + bytes);
    this.#bytes += bytes;
    if (this.#bytes <= this.#roomBytes || source === this.#oldest || this.#paused.has(source)) return;
    this.#paused.add(source);
    source.pause();
  }

  /** An answer is whole, or will never be. */
  end(source: Source): void {
    this.#bytes -= this.#arriving.get(source) ?? 0;
    this.#arriving.delete(source);
    this.#paused.delete(source);
    for (const waiting of [...this.#paused]) {
      if (this.#bytes > this.#roomBytes && waiting !== this.#oldest) continue;
      this.#paused.delete(waiting);
      waiting.resume();
    }
  }

  get #oldest(): Source | undefined {
    return this.#arriving.keys().next().value;
  }
}
