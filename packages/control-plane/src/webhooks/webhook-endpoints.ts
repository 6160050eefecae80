import { LIMITS, newId } from '@batch-infer/contracts';
import {
  WEBHOOK_EVENT_TYPES,
  type WebhookDeliveryState,
  type WebhookEventType,
} from '@batch-infer/contracts/webhooks';
import { DomainError } from '../errors.js';
import { keyReused, shownId } from '../files/files.js';
import { type CreateAttempt, fingerprintOf } from '../ingest/fingerprint.js';
import type { Clock } from '../ports/clock.js';
import type { WebhookDeliveryRecord, WebhookEndpointRecord, WebhookLedger } from '../ports/webhooks.js';
import { TokenBucket } from '../rate-limits/token-bucket.js';
import { toWebhookEvent } from './job-event.js';
import { newWebhookSecret, signedHeaders } from './signing.js';
import type { TargetGuard } from './target-guard.js';
import type { SendOutcome, WebhookSender } from './webhook-sender.js';

/** Test calls of a project: each makes a request that its caller chose. */
const TESTS_PER_MINUTE = 10;
const REMEMBERED_PROJECTS = 10_000;

/** How long the old secret signs beside the new one, when it is kept. */
const ROTATION_MS = 24 * 3_600_000;

type Change = Parameters<WebhookLedger['updateWebhookEndpoint']>[0]['change'];

/** Administers the receivers of a project's events. */
export class WebhookEndpoints {
  readonly #ledger: WebhookLedger;
  readonly #clock: Clock;
  readonly #guard: TargetGuard;
  readonly #sender: Pick<WebhookSender, 'send'>;
  readonly #onDue: () => void;
  readonly #tests = new Map<string, TokenBucket>();

  /** @param options.onDue called when a delivery can be made at once */
  constructor(options: {
    ledger: WebhookLedger;
    clock: Clock;
    guard: TargetGuard;
    sender: Pick<WebhookSender, 'send'>;
    onDue: () => void;
  }) {
    this.#ledger = options.ledger;
    this.#clock = options.clock;
    this.#guard = options.guard;
    this.#sender = options.sender;
    this.#onDue = options.onDue;
  }

  /**
   * @throws DomainError `invalid_parameter` (the URL leads to a private address), `too_many_webhook_endpoints`,
   * `idempotency_key_reused`, also by the same create some minutes later: the secret is not shown again
   */
  async create(params: {
    attempt: CreateAttempt;
    url: string;
    name?: string | undefined;
    eventTypes?: readonly WebhookEventType[] | undefined;
  }): Promise<{ endpoint: WebhookEndpointRecord; replayed: boolean }> {
    const { attempt, ...asked } = params;
    this.#guard.assertUrl(params.url, 'url');
    const nowMs = this.#clock.nowMs();
    const endpoint: WebhookEndpointRecord = {
      id: newId('whe', nowMs),
      projectId: attempt.projectId,
      name: params.name ?? new URL(params.url).hostname.slice(0, LIMITS.accessNameChars),
      url: params.url,
      eventTypes: params.eventTypes ?? WEBHOOK_EVENT_TYPES,
      secret: newWebhookSecret(),
      oldSecret: null,
      oldSecretUntilMs: null,
      disabledAtMs: null,
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    const idempotency = { ...attempt, fingerprint: fingerprintOf(asked) };
    const created = await this.#ledger.createWebhookEndpoint({ endpoint, idempotency, nowMs });
    if (created.outcome === 'conflict') throw keyReused();
    if (created.outcome === 'replayed') {
      if (nowMs - created.record.createdAtMs > LIMITS.implicitRetryWindowMs)
        throw shownBefore(created.record.id);
      return { endpoint: created.record, replayed: true };
    }
    if (created.outcome !== 'full') return { endpoint: created.record, replayed: false };
    throw new DomainError(
      'too_many_webhook_endpoints',
      `A project may have ${LIMITS.webhookEndpoints} webhook endpoints. Delete one that is not needed any more.`,
    );
  }

  /** @throws DomainError `not_found` */
  async get(projectId: string, id: string): Promise<WebhookEndpointRecord> {
    return (await this.#ledger.getWebhookEndpoint({ projectId, id })) ?? throwUnknown(id);
  }

  async list(params: {
    projectId: string;
    after?: string;
    limit: number;
  }): Promise<{ endpoints: WebhookEndpointRecord[]; hasMore: boolean }> {
    const found = await this.#ledger.listWebhookEndpoints({ ...params, limit: params.limit + 1 });
    return { endpoints: found.slice(0, params.limit), hasMore: found.length > params.limit };
  }

  /** Any change enables a disabled endpoint again. @throws DomainError `not_found`, `invalid_parameter` */
  async update(projectId: string, id: string, change: Change): Promise<WebhookEndpointRecord> {
    if (change.url !== undefined) this.#guard.assertUrl(change.url, 'url');
    const nowMs = this.#clock.nowMs();
    return (await this.#ledger.updateWebhookEndpoint({ projectId, id, change, nowMs })) ?? throwUnknown(id);
  }

  /** @throws DomainError `not_found` */
  async rotateSecret(projectId: string, id: string, keepOld: boolean): Promise<WebhookEndpointRecord> {
    const { secret } = await this.get(projectId, id);
    return await this.update(projectId, id, {
      secret: newWebhookSecret(),
      oldSecret: keepOld ? secret : null,
      oldSecretUntilMs: keepOld ? this.#clock.nowMs() + ROTATION_MS : null,
    });
  }

  /** @throws DomainError `not_found` */
  async delete(projectId: string, id: string): Promise<void> {
    if (!(await this.#ledger.deleteWebhookEndpoint({ projectId, id }))) throwUnknown(id);
  }

  /** Sends an event about a job that does not exist, once, and says what came of it. @throws DomainError `not_found`, `rate_limited` */
  async test(projectId: string, id: string, type: WebhookEventType): Promise<SendOutcome> {
    const endpoint = await this.get(projectId, id);
    this.#limitTests(projectId);
    const nowMs = this.#clock.nowMs();
    const eventId = newId('evt', nowMs);
    const job = { id: newId('job', nowMs), dialect: 'openai', state: 'succeeded' } as const;
    const body = JSON.stringify(toWebhookEvent({ eventId, type, job, nowMs }));
    const headers = signedHeaders({ id: eventId, body, secrets: [endpoint.secret], nowMs });
    return await this.#sender.send({ url: endpoint.url, headers, body });
  }

  #limitTests(projectId: string): void {
    const nowMs = this.#clock.nowMs();
    const tests = this.#tests.get(projectId) ?? new TokenBucket(TESTS_PER_MINUTE, nowMs);
    if (this.#tests.size >= REMEMBERED_PROJECTS) this.#tests.clear();
    this.#tests.set(projectId, tests);
    const { waitMs } = tests.take(nowMs, { overdraw: false });
    if (waitMs === 0) return;
    throw new DomainError(
      'rate_limited',
      `A project tests its webhook endpoints at most ${TESTS_PER_MINUTE} times a minute: test again later.`,
      { retryAfterSeconds: Math.ceil(waitMs / 1_000) },
    );
  }

  /** What signs the webhooks of jobs that bring no secret of their own. */
  async projectSecret(projectId: string): Promise<string> {
    return await this.#ledger.projectWebhookSecret({ projectId, fresh: newWebhookSecret() });
  }

  async deliveries(params: {
    projectId: string;
    endpointId?: string;
    jobId?: string;
    state?: WebhookDeliveryState;
    after?: string;
    limit: number;
  }): Promise<{ deliveries: WebhookDeliveryRecord[]; hasMore: boolean }> {
    const found = await this.#ledger.listWebhookDeliveries({ ...params, limit: params.limit + 1 });
    return { deliveries: found.slice(0, params.limit), hasMore: found.length > params.limit };
  }

  /** Sends an event again, under the same id. @throws DomainError `not_found` */
  async redeliver(projectId: string, id: string): Promise<WebhookDeliveryRecord> {
    const nowMs = this.#clock.nowMs();
    const delivery = await this.#ledger.redeliverWebhook({ projectId, id, nowMs });
    if (delivery === null) throw new DomainError('not_found', `No delivery has the id ${shownId(id)}.`);
    this.#onDue();
    return delivery;
  }
}

/** A client that got no answer asks again at once; whoever finds the key later is not told the secret. */
const shownBefore = (id: string): DomainError =>
  new DomainError(
    'idempotency_key_reused',
    `The endpoint ${id} was made with this Idempotency-Key before, and its secret is not shown again: read it with GET /v1/webhook_endpoints/${id}, or give it a new secret with POST /v1/webhook_endpoints/${id}/rotate_secret.`,
  );

function throwUnknown(id: string): never {
  throw new DomainError('not_found', `No webhook endpoint has the id ${shownId(id)}.`);
}
