import { ENDPOINTS, type Endpoint, isEndpoint } from '../endpoints.js';
import { LIMITS } from '../limits.js';
import { findForbiddenMedia, type MediaHosts } from './media.js';

/** What one good line says, or the first thing that is wrong with it. */
export type LineVerdict =
  | {
      readonly ok: true;
      readonly customId: string | null;
      readonly url: string | null;
      readonly model: string | null;
      readonly body: Readonly<Record<string, unknown>>;
    }
  | { readonly ok: false; readonly code: string; readonly param: string | null; readonly message: string };

export interface LineDefaults {
  readonly endpoint?: string | undefined;
  readonly model?: string | undefined;
  readonly requireComplete?: boolean | undefined;
  /** Merged under each body: a key that stands here is not missing. */
  readonly defaults?: Readonly<Record<string, unknown>> | undefined;
  readonly mediaHosts?: MediaHosts | undefined;
}

type Fields = Readonly<Record<string, unknown>>;
type Fault = Extract<LineVerdict, { ok: false }>;

const fault = (code: string, param: string | null, message: string): Fault => ({
  ok: false,
  code,
  param,
  message,
});

const CONTROL_CHARACTERS = /\p{Cc}/u;

/** The body key without which a request of this endpoint cannot run, and the values it may have. */
const NEEDED: Readonly<Record<Endpoint, string>> = {
  '/v1/chat/completions': 'messages',
  '/v1/messages': 'messages',
  '/v1/completions': 'prompt',
  '/v1/embeddings': 'input',
  '/v1/responses': 'input',
};

/**
 * Judges one parsed line: what makes a request clearly impossible to run, and nothing that only an engine can judge.
 * Messages name the field and the limit and never quote a body.
 */
export function checkLine(value: unknown, options: LineDefaults): LineVerdict {
  if (!isObject(value)) return fault('not_an_object', null, `must be a JSON object, but is ${kindOf(value)}`);
  // `null` is what serializers write for what is left out.
  const customId = value.custom_id ?? undefined;
  if (customId !== undefined) {
    const problem = checkCustomId(customId);
    if (problem !== null) return problem;
  }
  const method = value.method ?? undefined;
  if (method !== undefined && method !== 'POST') {
    return fault('invalid_method', 'method', `method must be "POST", but is ${shown(method)}`);
  }
  const url = value.url ?? undefined;
  if (url !== undefined && (typeof url !== 'string' || !isEndpoint(url))) {
    return fault('invalid_url', 'url', `url must be one of ${ENDPOINTS.join(', ')}, but is ${shown(url)}`);
  }
  const endpoint = url ?? options.endpoint ?? null;
  if (endpoint === null && options.requireComplete) {
    return fault('missing_url', 'url', 'url is missing, and the job has no endpoint to use instead');
  }
  const body = value.body ?? undefined;
  if (body === undefined) return fault('missing_body', 'body', `body is missing${hintOf(value)}`);
  if (!isObject(body))
    return fault('invalid_body', 'body', `body must be a JSON object, but is ${kindOf(body)}`);
  const bodyFault = checkBody(body, endpoint, options);
  if (bodyFault !== null) return bodyFault;
  const model = body.model ?? null;
  return {
    ok: true,
    customId: typeof customId === 'string' ? customId : null,
    url: url ?? null,
    model: typeof model === 'string' ? model : null,
    body,
  };
}

/** What a line without a body is instead, where that can be seen from its keys. */
function hintOf(line: Fields): string {
  if (isObject(line.params)) {
    return `, but params is there: this is a request of a message batch. Convert the file: jq -c '{custom_id, url: "/v1/messages", body: .params}' in.jsonl > out.jsonl`;
  }
  if (['messages', 'prompt', 'input'].some((key) => line[key] !== undefined)) {
    return ": the line is itself a request's body. Put it under body: jq -c '{body: .}' in.jsonl > out.jsonl";
  }
  return '';
}

function checkCustomId(customId: unknown): Fault | null {
  const refuse = (message: string): Fault => fault('invalid_custom_id', 'custom_id', message);
  if (typeof customId !== 'string') return refuse(`custom_id must be a string, but is ${kindOf(customId)}`);
  if (customId === '') return refuse('custom_id must not be empty');
  if (customId.length > LIMITS.customIdChars) {
    return refuse(`custom_id has ${customId.length} characters, and the limit is ${LIMITS.customIdChars}`);
  }
  return CONTROL_CHARACTERS.test(customId) ? refuse('custom_id must not hold control characters') : null;
}

function checkBody(body: Fields, endpoint: string | null, options: LineDefaults): Fault | null {
  const model = body.model ?? undefined;
  if (model === undefined) {
    if (options.requireComplete && options.model === undefined) {
      return fault(
        'missing_model',
        'body.model',
        'body.model is missing, and the job has no model to use instead',
      );
    }
  } else if (typeof model !== 'string' || model === '' || model.length > LIMITS.modelChars) {
    const problem = typeof model === 'string' ? `has ${model.length} characters` : `is ${kindOf(model)}`;
    return fault(
      'invalid_model',
      'body.model',
      `body.model must be a string of 1 to ${LIMITS.modelChars} characters, but ${problem}`,
    );
  }
  if (body.stream === true) {
    return fault(
      'stream_not_supported',
      'body.stream',
      'body.stream must not be true: results of a batch are read when they are whole',
    );
  }
  if (options.mediaHosts !== undefined) {
    const found = findForbiddenMedia(body, options.mediaHosts);
    if (found !== null) return { ok: false, ...found };
  }
  if (endpoint === null || !isEndpoint(endpoint)) return null;
  const key = NEEDED[endpoint];
  // A key of the body's own wins, also when it is null: that is how a default is taken back.
  const needed = key in body ? body[key] : options.defaults?.[key];
  if (needed === undefined || needed === null) {
    // A stored prompt (`/v1/responses`) can stand for the input.
    if (endpoint === '/v1/responses' && body.prompt !== undefined) return null;
    return fault('missing_parameter', `body.${key}`, `body.${key} is missing, and ${endpoint} needs it`);
  }
  if (key !== 'messages') return null;
  if (!Array.isArray(needed)) {
    return fault(
      'invalid_parameter',
      'body.messages',
      `body.messages must be an array, but is ${kindOf(needed)}`,
    );
  }
  return needed.length > 0
    ? null
    : fault(
        'missing_parameter',
        'body.messages',
        `body.messages is empty, and ${endpoint} needs at least one message`,
      );
}

export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** A short field as it stands, anything else by its kind: the fields shown are a method and a path, never a prompt. */
function shown(value: unknown): string {
  if (typeof value !== 'string') return kindOf(value);
  return value.length <= 64 ? JSON.stringify(value) : `a string of ${value.length} characters`;
}
