import { LIMITS } from '@batch-infer/contracts';
import type { Clock } from '../ports/clock.js';
import type { WebhookAttempt, WebhookDeliveryRecord, WebhookLedger } from '../ports/webhooks.js';
import { DeliveryPool } from './delivery-pool.js';
import { nextAttemptAtMs } from './retry-schedule.js';
import { newWebhookSecret, signedHeaders } from './signing.js';
import type { SendOutcome, WebhookSender } from './webhook-sender.js';

/** A process that dies during a call leaves the delivery to the others after this. */
const CLAIM_MS = 60_000;
/** A delivery that found no place for so long is left to its claim's end. */
const MAX_WAIT_MS = 30_000;
/** While calls are made, what has become due meanwhile is looked for this often. */
const LOOK_MS = 500;
const FORGET_INTERVAL_MS = 3_600_000;

/** Brings events to their receivers: at least once, under one id, until one of the answers is a good one. */
export class WebhookDeliverer {
  readonly #ledger: WebhookLedger;
  readonly #clock: Clock;
  readonly #sender: Pick<WebhookSender, 'send'>;
  readonly #random: () => number;
  readonly #stopping = new AbortController();
  readonly #pool = new DeliveryPool();
  #failure: { readonly error: unknown } | null = null;
  #forgotAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: {
    ledger: WebhookLedger;
    clock: Clock;
    sender: Pick<WebhookSender, 'send'>;
    random?: () => number;
  }) {
    this.#ledger = options.ledger;
    this.#clock = options.clock;
    this.#sender = options.sender;
    this.#random = options.random ?? Math.random;
  }

  /** The process is about to end: calls that are being made are cut off, and left to whoever comes next. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Begins the calls that are due, and waits some time for their ends; true when more may be to do. */
  async tick(): Promise<boolean> {
    if (this.#stopping.signal.aborted) return false;
    await this.#forget();
    const deadlineMs = performance.now() + LOOK_MS;
    let found = await this.#take();
    while (!this.#pool.isIdle) {
      const leftMs = deadlineMs - performance.now();
      // A process that ends waits for its calls: they have been cut off.
      if (leftMs <= 0 && !this.#stopping.signal.aborted) break;
      await this.#callEnds(leftMs);
      if (!this.#stopping.signal.aborted) found = await this.#take();
    }
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
    return found > 0 || !this.#pool.isIdle;
  }

  async #callEnds(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    const { signal } = this.#stopping;
    await Promise.race(signal.aborted ? [this.#pool.next()] : [this.#pool.next(), promise]);
    clearTimeout(timer);
  }

  /** Takes on what is due and has room. */
  async #take(): Promise<number> {
    const { room, perProject, roomOfProjects } = this.#pool;
    if (room <= 0) return 0;
    const nowMs = this.#clock.nowMs();
    const due = await this.#ledger.claimWebhookDeliveries({
      limit: room,
      perProject,
      roomOfProjects,
      claimMs: CLAIM_MS,
      nowMs,
    });
    for (const { delivery, secrets } of due) {
      const host = new URL(delivery.url).host;
      const untilMs = this.#pool.restsUntil(host, nowMs);
      if (untilMs !== null) await this.#ledger.postponeWebhookDelivery({ id: delivery.id, untilMs });
      else this.#pool.add({ projectId: delivery.projectId, host, run: this.#call(delivery, secrets, host) });
    }
    return due.length;
  }

  #call(delivery: WebhookDeliveryRecord, secrets: readonly string[], host: string): () => Promise<void> {
    const takenAtMs = performance.now();
    return async () => {
      if (this.#stopping.signal.aborted || performance.now() - takenAtMs > MAX_WAIT_MS) return;
      try {
        await this.#deliver(delivery, secrets, host);
      } catch (error) {
        this.#failure = { error };
      }
    };
  }

  async #deliver(delivery: WebhookDeliveryRecord, own: readonly string[], host: string): Promise<void> {
    const { id, url, payload, eventId, projectId } = delivery;
    const secrets =
      own.length > 0
        ? own
        : [await this.#ledger.projectWebhookSecret({ projectId, fresh: newWebhookSecret() })];
    const headers = signedHeaders({ id: eventId, body: payload, secrets, nowMs: this.#clock.nowMs() });
    const { signal } = this.#stopping;
    const outcome = await this.#sender.send({ url, headers, body: payload, signal });
    // Nothing is known of a call that was cut off: its claim runs out, and it is made again.
    if (signal.aborted && outcome.kind === 'failed') return;
    const nowMs = this.#clock.nowMs();
    if (outcome.kind === 'failed' && outcome.isTimeout) this.#pool.timedOut(host, nowMs);
    else this.#pool.answered(host);
    const attempt = judge(outcome, () =>
      nextAttemptAtMs({ attempts: delivery.attempts + 1, nowMs, random: this.#random }),
    );
    await this.#ledger.recordWebhookAttempt({ id, attempt, nowMs });
  }

  async #forget(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#forgotAtMs < FORGET_INTERVAL_MS) return;
    await this.#ledger.forgetWebhookDeliveries({ beforeMs: nowMs - LIMITS.webhookLogMs });
    this.#forgotAtMs = nowMs;
  }
}

/** What to make of an answer. */
function judge(outcome: SendOutcome, retryAtMs: () => number | null): WebhookAttempt {
  const end = { nextAttemptAtMs: null, disableEndpoint: false };
  if (outcome.kind === 'forbidden') return { ...end, state: 'failed', status: 0, error: outcome.error };
  const status = outcome.kind === 'answered' ? outcome.status : 0;
  if (status >= 200 && status < 300) return { ...end, state: 'delivered', status, error: null };
  const error = outcome.kind === 'answered' ? `The receiver answered ${status}.` : outcome.error;
  if (status === 410) return { ...end, state: 'failed', status, error, disableEndpoint: true };
  const atMs = retryAtMs();
  return {
    ...end,
    state: atMs === null ? 'failed' : 'pending',
    status,
    error: atMs === null ? `${error} It was the last attempt.` : error,
    nextAttemptAtMs: atMs,
  };
}
