import { LIMITS } from '@batch-infer/contracts';
import type { Clock } from '../ports/clock.js';
import type { WebhookAttempt, WebhookDeliveryRecord, WebhookLedger } from '../ports/webhooks.js';
import { nextAttemptAtMs } from './retry-schedule.js';
import { newWebhookSecret, signedHeaders } from './signing.js';
import type { SendOutcome, WebhookSender } from './webhook-sender.js';

/** Calls made at once. */
const PARALLEL = 16;
/** A process that dies during a call leaves the delivery to the others after this. */
const CLAIM_MS = 60_000;
const FORGET_INTERVAL_MS = 3_600_000;

/** Brings events to their receivers: at least once, under one id, until one of the answers is a good one. */
export class WebhookDeliverer {
  readonly #ledger: WebhookLedger;
  readonly #clock: Clock;
  readonly #sender: Pick<WebhookSender, 'send'>;
  readonly #random: () => number;
  readonly #stopping = new AbortController();
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

  /** Makes the calls that are due; true when more may be. */
  async tick(): Promise<boolean> {
    if (this.#stopping.signal.aborted) return false;
    await this.#forget();
    const due = await this.#ledger.claimWebhookDeliveries({
      limit: PARALLEL,
      claimMs: CLAIM_MS,
      nowMs: this.#clock.nowMs(),
    });
    await Promise.all(due.map(({ delivery, secrets }) => this.#deliver(delivery, secrets)));
    return due.length === PARALLEL;
  }

  async #deliver(delivery: WebhookDeliveryRecord, own: readonly string[]): Promise<void> {
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
