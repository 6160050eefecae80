import { ENDPOINTS, isExactNumber, LIMITS, PRIORITIES, parseExactJson } from '@batch-infer/contracts';
import type { SubmitFileOptions } from '@batch-infer/sdk';
import { usageError } from '../cli-error.js';
import type { Settings } from '../settings/settings.js';

/** The job's options out of flags. @throws CliError (usage) naming the flag. */
export function readJobOptions(settings: Settings): SubmitFileOptions {
  const options = {
    model: settings.text('model'),
    endpoint: settings.choice('endpoint', ENDPOINTS),
    completionWindow: settings.text('completion-window'),
    priority: settings.choice('priority', PRIORITIES),
    itemTimeoutMs: settings.durationMs('item-timeout'),
    maxAttempts: settings.number('max-attempts', { min: 1, max: LIMITS.maxAttemptsMax }),
    maxErrorRate: settings.number('max-error-rate', { min: 0, max: 1, whole: false }),
    defaults: readDefaults(settings.text('defaults')),
    planOrder: settings.choice('plan-order', ['auto', 'input']),
    reuse: settings.choice('reuse', ['none', 'job', 'project']),
    reuseMaxAgeSeconds: inSeconds(settings.durationMs('reuse-max-age')),
    metadata: readMetadata(settings.list('metadata')),
    webhook: readWebhook(settings.text('webhook')),
    idempotencyKey: settings.text('idempotency-key'),
  };
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...given, fresh: settings.switch('new') };
}

function readDefaults(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) return undefined;
  try {
    // Sent on: numbers stay as they were written.
    const value = parseExactJson(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (isObject && !isExactNumber(value)) return { ...value };
  } catch {
    // Said below: the same sentence fits.
  }
  throw usageError(`--defaults must be a JSON object such as '{"temperature":0}'`);
}

const inSeconds = (durationMs: number | undefined): number | undefined =>
  durationMs === undefined ? undefined : Math.ceil(durationMs / 1_000);

const readWebhook = (url: string | undefined) => (url === undefined ? undefined : { url });

/** `KEY=VALUE` pairs. @throws CliError (usage) */
export function readMetadata(pairs: readonly string[]): Record<string, string> | undefined {
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw usageError(`--metadata takes KEY=VALUE, not "${pair}"`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
