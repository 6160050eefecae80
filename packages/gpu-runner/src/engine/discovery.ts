import { LIMITS } from '@batch-infer/contracts';
import { monotonicClock } from '../clock.js';
import { RunnerError } from '../errors.js';
import { isJsonObject } from './answer.js';
import { EngineClient } from './client.js';
import { safeText } from './engine-words.js';
import type { EngineAnswer, EngineReply } from './reply.js';

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
const MODELS_PATH = '/v1/models';

/**
 * Asks an engine what it serves, through the client that its items go through: no redirect is followed, and no proxy of the
 * environment is used. Where models are named, a list that cannot be used (none, empty, `null`, with a wildcard) is taken
 * for no list: then these are served.
 * @throws {RunnerError} with the next step: `engine_unavailable` (not reached, or still loading), `unauthorized`,
 * `not_an_engine`, `no_models`, `model_not_served`.
 */
export async function discoverEngine(options: DiscoveryOptions): Promise<EngineInfo> {
  const { url, wanted } = options;
  const reply = await askForList(options);
  if (reply.kind !== 'answer') throw unreachable(url, reply);
  throwIfRefused(url, reply);
  const served = reply.status === 200 ? modelsIn(reply.body.toString('utf8')) : null;
  const llamaCpp = served?.some((model) => model.ownedBy === 'llamacpp') ?? false;
  if (wanted.length > 0) {
    if (llamaCpp || served === null || served.length === 0) return { models: wanted, llamaCpp };
    const models = wanted.filter((name) => served.some((model) => matches(model.id, name)));
    if (models.length > 0) return { models, llamaCpp };
    const ids = served.map((model) => model.id).join(', ');
    throw new RunnerError(
      'model_not_served',
      `${url} does not serve ${wanted.join(', ')}; it serves ${ids}: name one of these with --model, or leave --model out`,
    );
  }
  if (served === null) {
    const why = reply.status === 200 ? 'is not a list of models' : `answered ${reply.status}`;
    throw notAnEngine(url, `GET ${MODELS_PATH} ${why}`);
  }
  const names = new Set(served.map((model) => model.id).filter((id) => !id.includes('*')));
  // More than a runner may announce: those to serve are to be named.
  const models = [...names].slice(0, LIMITS.servedModels);
  if (models.length > 0) return { models, llamaCpp };
  throw new RunnerError(
    'no_models',
    served.length === 0
      ? `${url} serves no models yet: load one there (GET ${url}${MODELS_PATH} is empty), or name it with --model`
      : `${url} lists no model by its name (${served.map((model) => model.id).join(', ')}): name those to serve with --model`,
  );
}

/** Connections of its own: the list is asked for also while the engine's are all in use. */
async function askForList({ url, apiKey, signal }: DiscoveryOptions): Promise<EngineReply> {
  const client = new EngineClient({ url, apiKey, connections: 1, clock: monotonicClock });
  const end = () => void client.close();
  signal.addEventListener('abort', end, { once: true });
  try {
    return await client.get(MODELS_PATH, TIMEOUT_MS);
  } finally {
    signal.removeEventListener('abort', end);
    await client.close();
  }
}

interface ServedModel {
  readonly id: string;
  readonly ownedBy: string | null;
}

/** OpenAI's list, a bare array, or one under `models`; of objects with a name, or of names. `null`: none of these. */
function modelsIn(text: string): ServedModel[] | null {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return null;
  }
  if (isJsonObject(list)) list = list.data ?? list.models;
  if (!Array.isArray(list)) return null;
  return list.flatMap((entry: unknown) => {
    if (typeof entry === 'string') return entry === '' ? [] : [{ id: entry, ownedBy: null }];
    if (!isJsonObject(entry)) return [];
    const id = [entry.id, entry.name, entry.model].find((name) => typeof name === 'string' && name !== '');
    const ownedBy = typeof entry.owned_by === 'string' ? entry.owned_by : null;
    return typeof id === 'string' && id.length <= LIMITS.servedModelChars ? [{ id, ownedBy }] : [];
  });
}

/** Proxies list `*`, or `provider/*`, for whatever they pass on. */
function matches(listed: string, name: string): boolean {
  const star = listed.indexOf('*');
  if (star === -1) return listed === name;
  return name.startsWith(listed.slice(0, star)) && name.endsWith(listed.slice(star + 1));
}

function unreachable(url: string, reply: Exclude<EngineReply, { kind: 'answer' }>): RunnerError {
  const reason =
    reply.kind === 'broken' ? (reply.reason ?? reply.broken) : `no answer in ${TIMEOUT_MS / 1_000} s`;
  const message = `no engine answers at ${url} (${reason}): start it, or correct --engine-url`;
  return new RunnerError('engine_unavailable', message);
}

function throwIfRefused(url: string, { status, location }: EngineAnswer): void {
  if (status === 401 || status === 403) {
    const next = 'set BATCH_INFER_ENGINE_API_KEY to its key';
    throw new RunnerError('unauthorized', `the engine at ${url} refused the runner (${status}): ${next}`);
  }
  if (status === 429 || status >= 500) {
    throw new RunnerError('engine_unavailable', `the engine at ${url} is not ready yet (${status})`);
  }
  if (status >= 300 && status < 400) {
    const target = safeText(location ?? '', 200).replace(/[?#].*$/, '');
    throw notAnEngine(url, `GET ${MODELS_PATH} is redirected to ${target}, which requests do not follow`);
  }
}

const notAnEngine = (url: string, reason: string): RunnerError =>
  new RunnerError(
    'not_an_engine',
    `${url} is not an OpenAI-compatible server (${reason}): give the address under which its /v1 is found, or name the model with --model`,
  );
