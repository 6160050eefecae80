import type {
  WebhookDeliveryState,
  WebhookDeliveryView,
  WebhookEndpointView,
  WebhookSecretView,
  WebhookTestResult as WireTestResult,
  WebhookEndpointWithSecret as WireWithSecret,
} from '@batch-infer/contracts/webhooks';
import type { Call, HttpClient } from './http/http-client.js';
import type { Page, RequestOptions, WebhookEventType } from './types.js';
import { unwrapWebhook, type WebhookEvent, type WebhookHeaders } from './webhook-signature.js';

/** A receiver of all events of a project, without its secret. */
export interface WebhookEndpoint {
  readonly id: string;
  readonly name: string;
  readonly url: string;
  readonly eventTypes: readonly string[];
  /** The first letters of the secret. */
  readonly secretHint: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Nothing is sent to it any more, since it answered 410. Any update enables it again. */
  readonly disabledAt: Date | null;
}

/** An endpoint with its secret: shown when it was just made, and never again. */
export interface WebhookEndpointWithSecret extends WebhookEndpoint {
  readonly secret: string;
}

/** An event and what became of sending it. */
export interface WebhookDelivery {
  readonly id: string;
  /** `webhook-id`: the same in every attempt. */
  readonly eventId: string;
  readonly eventType: string;
  readonly jobId: string;
  /** `null`: the job's own webhook. */
  readonly endpointId: string | null;
  readonly url: string;
  readonly status: WebhookDeliveryState;
  readonly attempts: number;
  /** 0 when nothing answered; `null` before the first attempt. */
  readonly lastStatusCode: number | null;
  readonly lastError: string | null;
  readonly nextAttemptAt: Date | null;
  readonly createdAt: Date;
  readonly deliveredAt: Date | null;
}

export interface WebhookEndpointParams extends RequestOptions {
  readonly name?: string;
  /** Default: every end of a job. */
  readonly eventTypes?: readonly WebhookEventType[];
}

export interface ListDeliveriesOptions extends RequestOptions {
  readonly endpointId?: string;
  readonly jobId?: string;
  readonly status?: WebhookDeliveryState;
  /** Page size, 1 to 100. Default 20. */
  readonly limit?: number;
  /** `nextCursor` of the page before. */
  readonly cursor?: string;
}

/** What a test came to. */
export interface WebhookTestResult {
  readonly success: boolean;
  /** 0 when nothing answered. */
  readonly statusCode: number;
  readonly error: string | null;
}

/** `client.webhooks`: telling others of the ends of jobs, and reading what was told. */
export class WebhooksApi {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * Checks that a webhook comes from the server, and reads it. Answer 2xx soon, work afterwards, and expect an event
   * more than once: its id stays the same.
   *
   * @param body The body as it came, byte for byte.
   * @throws WebhookVerificationError when it is not to be trusted: answer 400.
   */
  async unwrap(body: string, headers: WebhookHeaders, secret: string): Promise<WebhookEvent> {
    return await unwrapWebhook(body, headers, secret, Date.now());
  }

  /** Makes an endpoint. Not repeated by itself unless `maxRetries` says so: a lost answer takes the secret with it. */
  async create(url: string, params: WebhookEndpointParams = {}): Promise<WebhookEndpointWithSecret> {
    const { name, eventTypes, ...options } = params;
    const json = JSON.stringify({ url, name, event_types: eventTypes });
    return withSecret(await this.#post('', json, { maxRetries: 0, ...options }));
  }

  /** Newest first; at most 100. */
  async list(options: RequestOptions = {}): Promise<WebhookEndpoint[]> {
    const call = { method: 'GET', path: '/v1/webhook_endpoints', query: { limit: 100 }, options } as const;
    return (await this.#http.json<{ data: WebhookEndpointView[] }>(call)).value.data.map(toEndpoint);
  }

  async get(id: string, options: RequestOptions = {}): Promise<WebhookEndpoint> {
    return toEndpoint(
      (await this.#http.json<WebhookEndpointView>({ ...at(id), method: 'GET', options })).value,
    );
  }

  /** A disabled endpoint is enabled again. */
  async update(
    id: string,
    params: WebhookEndpointParams & { readonly url?: string },
  ): Promise<WebhookEndpoint> {
    const { url, name, eventTypes, ...options } = params;
    const json = JSON.stringify({ url, name, event_types: eventTypes });
    return toEndpoint(await this.#post(`/${encodeURIComponent(id)}`, json, options));
  }

  /** What is still on its way to it fails. */
  async delete(id: string, options: RequestOptions = {}): Promise<void> {
    await this.#http.json({ ...at(id), method: 'DELETE', options });
  }

  /** A new secret. With `keepOld`, both sign for a day. */
  async rotateSecret(
    id: string,
    params: RequestOptions & { readonly keepOld?: boolean } = {},
  ): Promise<WebhookEndpointWithSecret> {
    const { keepOld = false, ...options } = params;
    const json = JSON.stringify({ keep_old_secret_active_for_24_hours: keepOld });
    const path = `/${encodeURIComponent(id)}/rotate_secret`;
    return withSecret(await this.#post(path, json, { maxRetries: 0, ...options }));
  }

  /** Sends one event about a job that does not exist, and says what the receiver answered. */
  async test(
    id: string,
    params: RequestOptions & { readonly eventType?: WebhookEventType } = {},
  ): Promise<WebhookTestResult> {
    const { eventType, ...options } = params;
    const json = JSON.stringify({ event_type: eventType });
    const path = `/${encodeURIComponent(id)}/test`;
    const result: WireTestResult = await this.#post(path, json, options);
    return {
      success: result.success,
      statusCode: result.status_code,
      error: result.x_batch_infer.error,
    };
  }

  /** The secret that signs the webhooks of jobs that bring none. */
  async secret(options: RequestOptions = {}): Promise<string> {
    const call = { method: 'GET', path: '/v1/webhook_secret', options } as const;
    return (await this.#http.json<WebhookSecretView>(call)).value.signing_secret;
  }

  /** One page of the delivery log, newest first. */
  async deliveries(params: ListDeliveriesOptions = {}): Promise<Page<WebhookDelivery>> {
    const { endpointId, jobId, status, limit, cursor, ...options } = params;
    const query = { webhook_endpoint_id: endpointId, job_id: jobId, status, limit, after: cursor };
    const { value } = await this.#http.json<WireDeliveryList>({
      method: 'GET',
      path: '/v1/webhook_deliveries',
      query,
      options,
    });
    const nextCursor = value.has_more ? value.last_id : null;
    return { data: value.data.map(toDelivery), hasMore: value.has_more, nextCursor };
  }

  /** Sends an event again, under the same event id. */
  async redeliver(deliveryId: string, options: RequestOptions = {}): Promise<WebhookDelivery> {
    const path = `/v1/webhook_deliveries/${encodeURIComponent(deliveryId)}/redeliver`;
    return toDelivery((await this.#http.json<WebhookDeliveryView>({ method: 'POST', path, options })).value);
  }

  async #post<Value>(path: string, json: string, options: RequestOptions): Promise<Value> {
    const call: Call = { method: 'POST', path: `/v1/webhook_endpoints${path}`, json, options };
    return (await this.#http.json<Value>(call)).value;
  }
}

interface WireDeliveryList {
  readonly data: readonly WebhookDeliveryView[];
  readonly has_more: boolean;
  readonly last_id: string | null;
}

const at = (id: string): Pick<Call, 'path'> => ({ path: `/v1/webhook_endpoints/${encodeURIComponent(id)}` });

const time = (seconds: number): Date => new Date(seconds * 1_000);
const timeOrNull = (seconds: number | null): Date | null => (seconds === null ? null : time(seconds));

const toEndpoint = (wire: WebhookEndpointView): WebhookEndpoint => ({
  id: wire.id,
  name: wire.name,
  url: wire.url,
  eventTypes: wire.event_types,
  secretHint: wire.signing_secret_hint,
  createdAt: time(wire.created_at),
  updatedAt: time(wire.updated_at),
  disabledAt: timeOrNull(wire.x_batch_infer.disabled_at),
});

const withSecret = (wire: WireWithSecret): WebhookEndpointWithSecret => ({
  ...toEndpoint(wire),
  secret: wire.signing_secret,
});

const toDelivery = (wire: WebhookDeliveryView): WebhookDelivery => ({
  id: wire.id,
  eventId: wire.event_id,
  eventType: wire.event_type,
  jobId: wire.job_id,
  endpointId: wire.webhook_endpoint_id,
  url: wire.url,
  status: wire.status,
  attempts: wire.attempts,
  lastStatusCode: wire.last_status_code,
  lastError: wire.last_error,
  nextAttemptAt: timeOrNull(wire.next_attempt_at),
  createdAt: time(wire.created_at),
  deliveredAt: timeOrNull(wire.delivered_at),
});
