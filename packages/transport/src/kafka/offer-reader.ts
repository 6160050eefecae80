import type { Priority } from '@batch-infer/contracts';
import type { Offer } from '@batch-infer/contracts/runner-protocol';
import type { OfferHandler } from '../port.js';
import { withDeadline } from './deadline.js';
import type { KafkaConsumer, PartitionPosition, ReceivedBatch, ReceivedRecord } from './kafka-client.js';
import { type KafkaLogger, RateLimiter, reasonOf } from './kafka-logger.js';
import type { LanePauses } from './lane-pauses.js';
import { decodeOffer } from './offer-record.js';
import type { PriorityGate } from './priority-gate.js';

/** A handler promises milliseconds. One that hangs must not hold up every lane for ever. */
const HANDLER_LIMIT_MS = 20_000;
const HANDLER_FAILED_RETRY_MS = 1_000;
const COMMIT_LIMIT_MS = 2_000;

/** Runs a handler inside the trace that the offer was published in. */
export type TraceRunner = <Result>(traceparent: string, run: () => Promise<Result>) => Promise<Result>;

export interface OfferReaderParams {
  readonly model: string;
  /** Topics of the model, with their priorities. */
  readonly lanes: ReadonlyMap<string, Priority>;
  readonly gate: PriorityGate;
  readonly pauses: LanePauses;
  readonly handle: OfferHandler;
  readonly withTraceparent: TraceRunner | null;
  /** Puts away a record that is no offer. Never rejects. */
  bury(record: ReceivedRecord, place: { topic: string; partition: number; reason: string }): Promise<void>;
  readonly logger: KafkaLogger;
}

/**
 * Takes the records of one model's lanes to the handler and commits what it has taken (I7): never what was busy, never
 * what nobody has answered for.
 */
export class OfferReader {
  readonly #params: OfferReaderParams;
  readonly #limiter = new RateLimiter();
  /** Taken, but not committed yet, by partition: the commit failed or is under way. */
  #uncommitted = new Map<string, PartitionPosition>();
  #committing: Promise<void> | null = null;

  constructor(params: OfferReaderParams) {
    this.#params = params;
  }

  async read(batch: ReceivedBatch, consumer: KafkaConsumer): Promise<void> {
    for (const record of batch.records) {
      if (!batch.isCurrent() || this.#params.pauses.isHeld(batch)) break;
      const done = await this.#readRecord(record, batch);
      if (!done) break;
      batch.advance(record.offset);
      this.#uncommitted.set(keyOf(batch), positionAfter(record, batch));
      void this.commitLeftovers(consumer);
    }
    await this.#committing;
  }

  /**
   * Commits what is taken and not committed, one commit at a time for all partitions: what is taken while one is under
   * way goes with the next. Never rejects: what is not committed comes again and is refused.
   */
  commitLeftovers(consumer: KafkaConsumer): Promise<void> {
    this.#committing ??= this.#commitAll(consumer).finally(() => {
      this.#committing = null;
    });
    return this.#committing;
  }

  /** After a rebalance the partitions may be another runner's, who has read on from the last commit. */
  forgetUncommitted(): void {
    this.#uncommitted = new Map();
  }

  async #commitAll(consumer: KafkaConsumer): Promise<void> {
    while (this.#uncommitted.size > 0) {
      const positions = [...this.#uncommitted];
      try {
        const commit = consumer.commit(positions.map(([, position]) => position));
        await withDeadline(commit, { timeoutMs: COMMIT_LIMIT_MS, what: 'committing offsets' });
      } catch (error) {
        this.#limiter.limit('commit', (suppressed) =>
          this.#params.logger.warn(
            { model: this.#params.model, reason: reasonOf(error), suppressed },
            'Kafka offsets were not committed; their offers may come again',
          ),
        );
        return;
      }
      for (const [key, position] of positions) {
        if (this.#uncommitted.get(key) === position) this.#uncommitted.delete(key);
      }
    }
  }

  /** Whether the record is done with. */
  async #readRecord(record: ReceivedRecord, batch: ReceivedBatch): Promise<boolean> {
    const { model, lanes, gate, pauses } = this.#params;
    const decoded = decodeOffer(record, model);
    if (decoded.outcome === 'undecodable') {
      const { topic, partition } = batch;
      await this.#params.bury(record, { topic, partition, reason: decoded.reason });
      return true;
    }
    const answer = await gate.pass(lanes.get(batch.topic) ?? 'low', async () =>
      batch.isCurrent() ? this.#ask(decoded.offer, decoded.traceparent) : null,
    );
    if (answer === null) return false;
    if (answer.outcome === 'busy') pauses.hold(batch, answer.retryAfterMs);
    return answer.outcome === 'taken';
  }

  async #ask(offer: Offer, traceparent: string | null): ReturnType<OfferHandler> {
    const { handle, withTraceparent, logger } = this.#params;
    const run = async () => handle(offer);
    try {
      return await withDeadline(
        traceparent === null || withTraceparent === null ? run() : withTraceparent(traceparent, run),
        { timeoutMs: HANDLER_LIMIT_MS, what: 'the answer to an offer' },
      );
    } catch (error) {
      logger.error({ shardId: offer.shard_id, reason: reasonOf(error) }, 'an offer was not answered');
      return { outcome: 'busy', retryAfterMs: HANDLER_FAILED_RETRY_MS };
    }
  }
}

const keyOf = ({ topic, partition }: ReceivedBatch): string => `${topic}/${partition}`;

const positionAfter = (record: ReceivedRecord, { topic, partition }: ReceivedBatch): PartitionPosition => ({
  topic,
  partition,
  nextOffset: String(BigInt(record.offset) + 1n),
});
