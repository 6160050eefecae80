import type {
  Job as WireJob,
  JobOptions as WireJobOptions,
  ResultLine as WireResultLine,
} from '@batch-infer/contracts/native';
import type { RunnerView } from '@batch-infer/contracts/runner-protocol';
import type { ItemResult, Job, JobItem, JobOptions, Progress, Runner, Usage } from './types.js';

/** The one place that knows both spellings: snake_case on the wire, camelCase here. */

const toDate = (text: string | null): Date | null => (text === null ? null : new Date(text));

function toUsage(wire: WireJob['usage']): Usage {
  return {
    inputTokens: wire.input_tokens,
    cachedInputTokens: wire.cached_input_tokens,
    outputTokens: wire.output_tokens,
  };
}

export function toJob(wire: WireJob): Job {
  return {
    id: wire.id,
    status: wire.status,
    phase: wire.phase,
    // Servers of 0.1 before the pause do not say.
    paused: wire.paused ?? false,
    endpoint: wire.endpoint,
    models: wire.models,
    priority: wire.priority,
    counts: wire.counts,
    // Servers of 0.1 before the reuse between jobs do not say.
    reusedItems: wire.reused_items ?? 0,
    progress: {
      itemsPerSecond: wire.progress.items_per_second,
      outputTokensPerSecond: wire.progress.output_tokens_per_second,
      etaSeconds: wire.progress.eta_seconds,
    },
    queue: { position: wire.queue.position, waitingFor: wire.queue.waiting_for },
    usage: toUsage(wire.usage),
    errors: wire.errors.map(({ sample, ...group }) => ({
      ...group,
      sample: { index: sample.index, customId: sample.custom_id },
    })),
    inputErrors: wire.input_errors,
    inputFileId: wire.input_file_id,
    outputFileId: wire.output_file_id,
    errorFileId: wire.error_file_id,
    createdAt: new Date(wire.created_at),
    startedAt: toDate(wire.started_at),
    finishedAt: toDate(wire.finished_at),
    expiresAt: new Date(wire.expires_at),
    completionWindow: wire.completion_window,
    metadata: wire.metadata,
    // Servers of 0.1 before the webhook was shown do not say.
    webhook: wire.webhook ?? null,
  };
}

export function toItemResult(wire: WireResultLine): ItemResult {
  const base = {
    index: wire.index,
    customId: wire.custom_id,
    attempts: wire.attempts,
    latencyMs: wire.latency_ms ?? null,
    statusCode: wire.status_code ?? null,
    requestId: wire.request_id ?? null,
    reusedFrom: wire.reused_from ?? null,
    cursor: wire.cursor ?? null,
  };
  if (wire.status === 'succeeded') {
    const usage = wire.usage === undefined ? null : toUsage(wire.usage);
    return { ok: true, status: 'succeeded', ...base, response: wire.response, usage };
  }
  const error = wire.error ?? {
    code: 'unknown',
    type: 'server_error',
    message: 'The server gave no reason.',
    retryable: true,
  };
  return { ok: false, status: wire.status, ...base, error, errorBody: wire.error_body ?? null };
}

export function toProgress(job: Job): Progress {
  const { total, succeeded, failed, cancelled, expired } = job.counts;
  const unsuccessful = failed + cancelled + expired;
  return {
    job,
    completed: succeeded + unsuccessful,
    failed: unsuccessful,
    total,
    itemsPerSecond: job.progress.itemsPerSecond,
    tokensPerSecond: job.progress.outputTokensPerSecond,
    etaSeconds: job.progress.etaSeconds,
  };
}

export function toRunner(wire: RunnerView): Runner {
  return {
    id: wire.id,
    models: wire.models,
    engines: wire.engines.map((engine) => ({
      id: engine.id,
      models: engine.models,
      healthy: engine.healthy,
      window: engine.window,
      inFlight: engine.in_flight,
      problem: engine.problem,
      problemMs: engine.problem_ms ?? null,
    })),
    freeSlots: wire.free_slots,
    inFlight: wire.in_flight,
    itemsPerSecond: wire.items_per_second,
    version: wire.version,
    lastSeenAt: new Date(wire.last_seen_at),
  };
}

/** The wire's spelling of options; keys without a value are left out. */
export function toWireOptions(options: JobOptions): WireJobOptions {
  const wire: Record<keyof WireJobOptions, unknown> = {
    endpoint: options.endpoint,
    model: options.model,
    completion_window: options.completionWindow,
    priority: options.priority,
    item_timeout_ms: options.itemTimeoutMs,
    max_attempts: options.maxAttempts,
    max_error_rate: options.maxErrorRate,
    defaults: options.defaults,
    plan_order: options.planOrder,
    reuse: options.reuse,
    reuse_max_age_seconds: options.reuseMaxAgeSeconds,
    metadata: options.metadata,
    webhook: options.webhook,
    output_expires_after_seconds: options.outputExpiresAfterSeconds,
  };
  return Object.fromEntries(Object.entries(wire).filter(([, value]) => value !== undefined));
}

export function toWireItem(item: JobItem): Record<string, unknown> {
  const { customId, ...rest } = item;
  return customId === undefined ? rest : { ...rest, custom_id: customId };
}
