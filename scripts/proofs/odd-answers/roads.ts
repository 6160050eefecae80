import { until } from '../wait.js';
import type { Endpoint } from './answers.js';

/** A request on a road. */
export interface OddRequest {
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly model: string;
  /** What the engine knows it by. */
  readonly text: string;
}

/** How a request ended: what was delivered, or the words of its failure. */
export type End =
  | { readonly ok: true; readonly answer: unknown; readonly raw: string }
  | { readonly ok: false; readonly words: unknown; readonly raw: string };

type Json = { readonly [key: string]: unknown };
export type Road = (url: string, requests: readonly OddRequest[]) => Promise<ReadonlyMap<string, End>>;

const ROAD_MS = 120_000;

function bodyOf({ endpoint, model, text }: OddRequest): Json {
  switch (endpoint) {
    case '/v1/chat/completions':
      return { model, messages: [{ role: 'user', content: text }] };
    case '/v1/completions':
      return { model, prompt: text };
    case '/v1/messages':
      return { model, max_tokens: 16, messages: [{ role: 'user', content: text }] };
    default:
      return { model, input: text };
  }
}

const ndjson = (text: string): { line: Json; raw: string }[] =>
  text
    .split('\n')
    .filter((raw) => raw !== '')
    .map((raw) => ({ line: JSON.parse(raw) as Json, raw }));

const at = (value: unknown, ...keys: readonly string[]): unknown =>
  keys.reduce<unknown>(
    (inner, key) => (typeof inner === 'object' && inner !== null ? (inner as Json)[key] : undefined),
    value,
  );

async function call(url: string, path: string, body?: unknown): Promise<Json> {
  const headers = { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' };
  const answer = await fetch(`${url}${path}`, {
    headers,
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text.slice(0, 500)}`);
  return JSON.parse(text) as Json;
}

const textOf = async (url: string, path: string): Promise<string> => (await fetch(`${url}${path}`)).text();

const ended = (url: string, path: string, isOver: (view: Json) => boolean): Promise<Json> =>
  until(`the end of ${path}`, ROAD_MS, async () => {
    const view = await call(url, path);
    return isOver(view) ? view : null;
  });

/** `POST /v1/jobs`, results as NDJSON. */
export const nativeJob: Road = async (url, requests) => {
  const items = requests.map((request) => ({
    ...{ custom_id: request.id, method: 'POST', url: request.endpoint, body: bodyOf(request) },
  }));
  const { id } = await call(url, '/v1/jobs', { items });
  await ended(url, `/v1/jobs/${id}`, ({ finished_at: finishedAt }) => finishedAt !== null);
  const text = await textOf(url, `/v1/jobs/${id}/results`);
  return new Map(
    ndjson(text).map(({ line, raw }) => {
      const end: End =
        line.status === 'succeeded'
          ? { ok: true, answer: line.response, raw }
          : { ok: false, words: at(line, 'error', 'message'), raw };
      return [String(line.custom_id), end];
    }),
  );
};

/** A file, `POST /v1/batches`, the output and the error file. */
export const openaiBatch: Road = async (url, requests) => {
  const ends = new Map<string, End>();
  // A batch has one endpoint.
  for (const [endpoint, own] of Map.groupBy(requests, (request) => request.endpoint)) {
    const lines = own.map((request) =>
      JSON.stringify({ custom_id: request.id, method: 'POST', url: endpoint, body: bodyOf(request) }),
    );
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new Blob([`${lines.join('\n')}\n`]), 'odd.jsonl');
    const file = (await (await fetch(`${url}/v1/files`, { method: 'POST', body: form })).json()) as Json;
    const parameters = { input_file_id: file.id, endpoint, completion_window: '24h' };
    const { id } = await call(url, '/v1/batches', parameters);
    const batch = await ended(url, `/v1/batches/${id}`, ({ status }) =>
      ['completed', 'failed', 'expired', 'cancelled'].includes(String(status)),
    );
    for (const fileId of [batch.output_file_id, batch.error_file_id]) {
      if (typeof fileId !== 'string') continue;
      const text = await textOf(url, `/v1/files/${fileId}/content`);
      for (const { line, raw } of ndjson(text)) {
        const status = at(line, 'response', 'status_code');
        const words = at(line, 'error', 'message') ?? at(line, 'response', 'body', 'error', 'message');
        const end: End =
          status === 200
            ? { ok: true, answer: at(line, 'response', 'body'), raw }
            : { ok: false, words, raw };
        ends.set(String(line.custom_id), end);
      }
    }
  }
  return ends;
};

/** `POST /v1/messages/batches`, results as JSONL. */
export const messageBatch: Road = async (url, requests) => {
  const { id } = await call(url, '/v1/messages/batches', {
    requests: requests.map((request) => ({ custom_id: request.id, params: bodyOf(request) })),
  });
  const path = `/v1/messages/batches/${id}`;
  await ended(url, path, ({ processing_status: status }) => status === 'ended');
  return new Map(
    ndjson(await textOf(url, `${path}/results`)).map(({ line, raw }) => {
      const end: End =
        at(line, 'result', 'type') === 'succeeded'
          ? { ok: true, answer: at(line, 'result', 'message'), raw }
          : { ok: false, words: at(line, 'result', 'error', 'error', 'message'), raw };
      return [String(line.custom_id), end];
    }),
  );
};

/** Each request by itself, at its own endpoint, with the answer on the same connection. */
export const plainRequests: Road = async (url, requests) =>
  new Map(
    await Promise.all(
      requests.map(async (request): Promise<[string, End]> => {
        const answer = await fetch(`${url}${request.endpoint}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(bodyOf(request)),
        });
        const raw = await answer.text();
        const value: unknown = JSON.parse(raw);
        return [
          request.id,
          answer.ok
            ? { ok: true, answer: value, raw }
            : { ok: false, words: at(value, 'error', 'message'), raw },
        ];
      }),
    ),
  );

/** `POST /v1/responses` with `background`, asked for until it has ended. */
export const backgroundResponses: Road = async (url, requests) =>
  new Map(
    await Promise.all(
      requests.map(async (request): Promise<[string, End]> => {
        const { id } = await call(url, '/v1/responses', { ...bodyOf(request), background: true });
        const view = await ended(
          url,
          `/v1/responses/${id}`,
          ({ status }) => status !== 'queued' && status !== 'in_progress',
        );
        const raw = String(view.status);
        const hasFailed = view.status === 'failed';
        return [
          request.id,
          hasFailed
            ? { ok: false, words: at(view, 'error', 'message'), raw }
            : { ok: true, answer: view, raw },
        ];
      }),
    ),
  );
