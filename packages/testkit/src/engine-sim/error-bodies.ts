/** Error answers as vLLM 0.32 gives them: the same words, types and fields. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: string;
}

interface ErrorFields {
  readonly status: number;
  readonly type: string;
  readonly message: string;
  readonly param?: string;
}

/** `/v1/messages` has Anthropic's envelope around vLLM's own type names. */
function errorAnswer(path: string, { status, type, message, param }: ErrorFields): ErrorAnswer {
  const body =
    path === '/v1/messages'
      ? { type: 'error', error: { type, message } }
      : { error: { message, type, param: param ?? null, code: status } };
  return { status, body: JSON.stringify(body) };
}

export function unknownModel(path: string, model: string, served: Iterable<string>): ErrorAnswer {
  const message = `The model \`${model}\` does not exist. Valid aliases: ${[...served].join(', ')}.`;
  return errorAnswer(path, { status: 404, type: 'NotFoundError', message, param: 'model' });
}

export function promptTooLong(path: string, maxModelLen: number): ErrorAnswer {
  const message =
    `This model's maximum context length is ${maxModelLen} tokens. However, your prompt contains at least ` +
    `${maxModelLen + 1} input tokens, which exceeds this limit even without any output tokens. Please reduce the ` +
    `length of the input prompt. (parameter=input_tokens, value=${maxModelLen + 1})`;
  return badRequest(path, message, 'input_tokens');
}

export function outputTooLong(path: string, maxTokens: number, maxModelLen: number): ErrorAnswer {
  const message =
    `max_tokens=${maxTokens} cannot be greater than max_model_len=${maxModelLen}. Please request fewer output ` +
    `tokens. (parameter=max_tokens, value=${maxTokens})`;
  return badRequest(path, message, 'max_tokens');
}

/** A value out of range. */
export function badRequest(path: string, message: string, param: string): ErrorAnswer {
  return errorAnswer(path, { status: 400, type: 'BadRequestError', message, param });
}

/** A body that breaks the schema: note the other spelling of the type. */
export function badSchema(path: string, message: string, param: string): ErrorAnswer {
  return errorAnswer(path, { status: 400, type: 'Bad Request', message, param });
}

/** vLLM's parameter is the place of the mistake; here it is always the end, as in a body that was cut. */
export function badJson(path: string, rawBody: string): ErrorAnswer {
  const param = `body.${rawBody.length}`;
  const message =
    `1 validation error:\n  {'type': 'json_invalid', 'loc': '${param}', 'msg': 'JSON decode error', ` +
    "'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}";
  return badSchema(path, message, param);
}

export function badContentType(path: string): ErrorAnswer {
  const message = "Unsupported Media Type: Only 'application/json' is allowed";
  return errorAnswer(path, { status: 400, type: 'Bad Request', message });
}

const STATUS_TEXTS: ReadonlyMap<number, readonly [type: string, message: string]> = new Map([
  [429, ['Too Many Requests', 'Too many requests. Please retry later.']],
  [
    500,
    ['InternalServerError', 'EngineCore encountered an issue. See stack trace (above) for the root cause.'],
  ],
  [
    503,
    [
      'Service Unavailable',
      'The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.',
    ],
  ],
]);

/** The answer of a `status` fault, and of the queue cap (503). `body`: other words than the engine's own. */
export function statusFault(path: string, status: number, body?: string): ErrorAnswer {
  if (body !== undefined) return { status, body };
  const [type, message] = STATUS_TEXTS.get(status) ?? ['InternalServerError', `Simulated failure ${status}.`];
  return errorAnswer(path, { status, type, message });
}

export const UNAUTHORIZED: ErrorAnswer = { status: 401, body: '{"error":"Unauthorized"}' };
export const NOT_FOUND: ErrorAnswer = { status: 404, body: '{"detail":"Not Found"}' };
export const METHOD_NOT_ALLOWED: ErrorAnswer = { status: 405, body: '{"detail":"Method Not Allowed"}' };
