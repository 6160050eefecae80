import type { WebhookDeliveryState, WebhookEventType } from '@batch-infer/contracts/webhooks';
import type { CreateOutcome, IdempotencyClaim } from './ledger.js';

/** Webhooks as the ledger keeps them. Times are epoch milliseconds. */
export interface WebhookEndpointRecord {
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  readonly url: string;
  readonly eventTypes: readonly WebhookEventType[];
  /** `whsec_…`. */
  readonly secret: string;
  /** Signs beside the new one until then. */
  readonly oldSecret: string | null;
  readonly oldSecretUntilMs: number | null;
  readonly disabledAtMs: number | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** An event on its way to one receiver, and afterwards the line of the log. */
export interface WebhookDeliveryRecord {
  readonly id: string;
  /** The same for every receiver of the event, in every attempt. */
  readonly eventId: string;
  readonly eventType: WebhookEventType;
  readonly projectId: string;
  readonly jobId: string;
  /** `null`: the job's own webhook. */
  readonly endpointId: string | null;
  readonly url: string;
  readonly payload: string;
  readonly state: WebhookDeliveryState;
  readonly attempts: number;
  readonly nextAttemptAtMs: number | null;
  /** 0: nothing answered. */
  readonly lastStatus: number | null;
  readonly lastError: string | null;
  readonly createdAtMs: number;
  readonly deliveredAtMs: number | null;
}

/** What an attempt came to. */
export interface WebhookAttempt {
  readonly state: WebhookDeliveryState;
  readonly status: number;
  readonly error: string | null;
  /** `null` unless it is to be tried again. */
  readonly nextAttemptAtMs: number | null;
  /** The receiver wants nothing any more (410). */
  readonly disableEndpoint: boolean;
}

/** The part of the ledger that keeps webhooks. Deliveries are written by the transaction that ends a job. */
export interface WebhookLedger {
  /** `full` at `LIMITS.webhookEndpoints`. */
  createWebhookEndpoint(params: {
    endpoint: WebhookEndpointRecord;
    idempotency: IdempotencyClaim;
    nowMs: number;
  }): Promise<CreateOutcome<WebhookEndpointRecord> | { readonly outcome: 'full' }>;
  getWebhookEndpoint(params: { projectId: string; id: string }): Promise<WebhookEndpointRecord | null>;
  /** Newest first, behind `after`. */
  listWebhookEndpoints(params: {
    projectId: string;
    after?: string;
    limit: number;
  }): Promise<WebhookEndpointRecord[]>;
  /** Any change enables it again. `null` for an unknown one. */
  updateWebhookEndpoint(params: {
    projectId: string;
    id: string;
    change: Partial<
      Pick<WebhookEndpointRecord, 'name' | 'url' | 'eventTypes' | 'secret' | 'oldSecret' | 'oldSecretUntilMs'>
    >;
    nowMs: number;
  }): Promise<WebhookEndpointRecord | null>;
  /** What is still on its way to it fails. */
  deleteWebhookEndpoint(params: { projectId: string; id: string }): Promise<boolean>;
  /** The secret that signs webhooks of jobs without one: the given one when the project has none yet. */
  projectWebhookSecret(params: { projectId: string; fresh: string }): Promise<string>;

  /** Newest first, behind `after`. */
  listWebhookDeliveries(params: {
    projectId: string;
    endpointId?: string;
    jobId?: string;
    state?: WebhookDeliveryState;
    after?: string;
    limit: number;
  }): Promise<WebhookDeliveryRecord[]>;
  /** Sends it again, whatever became of it, under the same event id. `null` for an unknown one. */
  redeliverWebhook(params: {
    projectId: string;
    id: string;
    nowMs: number;
  }): Promise<WebhookDeliveryRecord | null>;
  /**
   * Takes deliveries that are due, in turn over projects, the oldest of each first, at most `perProject` of one (or what
   * `roomOfProjects` says), for `claimMs`: whoever dies meanwhile leaves them to the next. With the
   * secrets that sign them; none: the project's own.
   */
  claimWebhookDeliveries(params: {
    limit: number;
    perProject?: number;
    roomOfProjects?: ReadonlyMap<string, number>;
    claimMs: number;
    nowMs: number;
  }): Promise<{ delivery: WebhookDeliveryRecord; secrets: string[] }[]>;
  /** Gives a claimed delivery back until then: no attempt was made. */
  postponeWebhookDelivery(params: { id: string; untilMs: number }): Promise<void>;
  recordWebhookAttempt(params: { id: string; attempt: WebhookAttempt; nowMs: number }): Promise<void>;
  /** Drops the log older than this; what is on its way stays. */
  forgetWebhookDeliveries(params: { beforeMs: number }): Promise<void>;
}
