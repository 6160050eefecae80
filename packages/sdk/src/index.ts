/** The client library of batch-infer. Runs wherever `fetch` runs; what needs a file system stands behind `/node`. */
export type {
  ApiKey,
  ApiKeyScope,
  Caller,
  CreateApiKeyParams,
  CreatedApiKey,
  KeysApi,
  Project,
  ProjectLimits,
  ProjectParams,
  ProjectsApi,
} from './access.js';
export { BatchInfer } from './client.js';
export { type BatchInferOptions, DEFAULT_BASE_URL } from './config.js';
export {
  APIError,
  AuthenticationError,
  BadRequestError,
  BatchInferError,
  ConflictError,
  ConnectionError,
  type InputProblem,
  InputReadError,
  JobFailedError,
  NotFoundError,
  PartialFailureError,
  PermissionError,
  RateLimitError,
  ServerError,
  TimeoutError,
  UnprocessableError,
  WaitTimeoutError,
} from './errors.js';
export type { EventsOptions, JobEvent } from './events.js';
export { JobHandle, type RetryOptions } from './job-handle.js';
export { JobList, JobsApi, type ListJobsOptions, type SubmitFileOptions, type SubmitParams } from './jobs.js';
export type { MapOptions, MapResult } from './map.js';
export { outputOf } from './output.js';
export type { WaitOptions } from './poll.js';
export type { RawResultLine, ResultsOptions } from './results.js';
export type { FileInput, InputSource } from './sources.js';
export type { StandardResult, StandardSchema } from './standard-schema.js';
export * from './types.js';
export { type WebhookEvent, type WebhookHeaders, WebhookVerificationError } from './webhook-signature.js';
export {
  type ListDeliveriesOptions,
  type WebhookDelivery,
  type WebhookEndpoint,
  type WebhookEndpointParams,
  type WebhookEndpointWithSecret,
  WebhooksApi,
  type WebhookTestResult,
} from './webhooks.js';
