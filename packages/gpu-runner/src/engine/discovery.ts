import { RunnerError } from '../errors.js';
import { reasonOf } from '../logger.js';
import { isJsonObject, parseJsonObject } from './answer.js';

export interface EngineInfo {
  /** Models that we use it for. */
  readonly models: readonly string[];
  /** True for llama.cpp, which answers whatever model is named, ignores disconnects and has few HTTP threads. */
  readonly llamaCpp: boolean;
}

export interface DiscoveryOptions {
  /** Without `/v1`. */
  readonly url: string;
  readonly apiKey: string | null;
  /** Use these models only; empty: all that it serves. */
  readonly wanted: readonly string[];
  readonly signal: AbortSignal;
}

const TIMEOUT_MS = 5_000;

/**
 * Asks an engine what it serves.
 * @throws {RunnerError} with the next step: `engine_unavailable` (not reached, or still loading), `unauthorized`,
 * `not_an_engine`, `no_models`, `model_not_served`.
 */
export async function discoverEngine(options: DiscoveryOptions): Promise<EngineInfo> {
  const served = await listModels(options);
  if (served.length === 0) {
    throw new RunnerError(
      'no_models',
      `${options.url} serves no models yet: load one there (GET ${options.url}/v1/models is empty)`,
    );
  }
  const ids = served.map((model) => model.id);
  const llamaCpp = served.some((model) => model.ownedBy === 'llamacpp');
  if (options.wanted.length === 0) return { models: ids, llamaCpp };
  if (llamaCpp) return { models: options.wanted, llamaCpp };
  const models = options.wanted.filter((name) => ids.includes(name));
  if (models.length > 0) return { models, llamaCpp };
  throw new RunnerError(
    'model_not_served',
    `${options.url} does not serve ${options.wanted.join(', ')}; it serves ${ids.join(', ')}: name one of these with --model, or leave --model out`,
  );
}

interface ServedModel {
  readonly id: string;
  readonly ownedBy: string | null;
}

async function listModels(options: DiscoveryOptions): Promise<ServedModel[]> {
  const { url, signal } = options;
  // Loaded here because it is large and needed once.
  const openai = await import('openai');
  const client = new openai.OpenAI({
    baseURL: `${url}/v1`,
    apiKey: options.apiKey ?? 'none',
    maxRetries: 0,
    timeout: TIMEOUT_MS,
    // The engine's key is ours to give: nothing is taken from the environment.
    organization: null,
    project: null,
  });
  let text: string;
  try {
    // The answer itself, since not every server says that it is JSON.
    text = await (await client.models.list({ signal }).asResponse()).text();
  } catch (error) {
    if (error instanceof openai.APIConnectionError) throw unreachable(url, error);
    throw error instanceof openai.APIError ? refused(url, error.status, error) : error;
  }
  const data = parseJsonObject(text)?.data;
  if (!Array.isArray(data)) throw notAnEngine(url, 'GET /v1/models is not a list of models');
  return data.flatMap((model: unknown) =>
    isJsonObject(model) && typeof model.id === 'string'
      ? [{ id: model.id, ownedBy: typeof model.owned_by === 'string' ? model.owned_by : null }]
      : [],
  );
}

function unreachable(url: string, error: Error): RunnerError {
  const reason = reasonOf(rootOf(error));
  const message = `no engine answers at ${url} (${reason}): start it, or correct --engine-url`;
  return new RunnerError('engine_unavailable', message, error);
}

function refused(url: string, status: number | undefined, error: Error): RunnerError {
  if (status === 401 || status === 403) {
    const next = 'set BATCH_INFER_ENGINE_API_KEY to its key';
    return new RunnerError(
      'unauthorized',
      `the engine at ${url} refused the runner (${status}): ${next}`,
      error,
    );
  }
  if (status === 503 || status === 429) {
    return new RunnerError('engine_unavailable', `the engine at ${url} is not ready yet (${status})`, error);
  }
  return notAnEngine(url, `GET /v1/models answered ${status}`, error);
}

const notAnEngine = (url: string, reason: string, cause?: unknown): RunnerError =>
  new RunnerError(
    'not_an_engine',
    `${url} is not an OpenAI-compatible server (${reason}): give the address under which its /v1 is found`,
    cause,
  );

function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}
