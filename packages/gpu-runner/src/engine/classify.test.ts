import type { FailureCode } from '@batch-infer/contracts';
import { describe, expect, test } from 'vitest';
import { classify, parseRetryAfterMs } from './classify.js';
import type { EngineReply } from './reply.js';

const CHAT = '/v1/chat/completions';

const answer = (status: number, body: unknown, retryAfterMs: number | null = null): EngineReply => ({
  ...{ kind: 'answer', status, retryAfterMs, ms: 5 },
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
});
const vllm = (message: string, type: string, code: number, param: string | null = null) => ({
  error: { message, type, param, code },
});
const llamaCpp = (code: number, message: string, type: string) => ({ error: { code, message, type } });
const chat = (finishReason: unknown) => ({
  choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: finishReason }],
});

/** Bodies as vLLM 0.32 and llama.cpp sent them, see the design's page on engines. */
const FAILURES: [name: string, status: number, body: unknown, code: FailureCode][] = [
  [
    'vLLM: unknown model',
    404,
    vllm('The model `x` does not exist.', 'NotFoundError', 404, 'model'),
    'model_not_found',
  ],
  ['vLLM: unknown route', 404, { detail: 'Not Found' }, 'unsupported_endpoint'],
  ['vLLM: wrong method', 405, { detail: 'Method Not Allowed' }, 'unsupported_endpoint'],
  [
    'vLLM: prompt too long',
    400,
    vllm(
      "This model's maximum context length is 2048 tokens. However, your request has 3031 input tokens.",
      'BadRequestError',
      400,
      'input_tokens',
    ),
    'context_length_exceeded',
  ],
  [
    'vLLM: output too long',
    400,
    vllm(
      "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 2048 tokens",
      'BadRequestError',
      400,
      'max_tokens',
    ),
    'context_length_exceeded',
  ],
  [
    'vLLM: value out of range',
    400,
    vllm('temperature must be non-negative', 'BadRequestError', 400, 'temperature'),
    'invalid_request',
  ],
  [
    'vLLM: schema error',
    400,
    vllm('Input should be a valid number', 'Bad Request', 400, 'body.temperature'),
    'invalid_request',
  ],
  [
    'vLLM: queue cap',
    503,
    vllm(
      'The engine is currently busy and cannot accept new requests. Please retry later.',
      'Service Unavailable',
      503,
    ),
    'engine_overloaded',
  ],
  [
    'vLLM: shutting down, in flight',
    500,
    vllm(
      'EngineCore encountered an issue. See stack trace (above) for the root cause.',
      'InternalServerError',
      500,
    ),
    'engine_aborted',
  ],
  [
    'vLLM: shutting down, late',
    500,
    vllm('cannot schedule new futures after shutdown', 'InternalServerError', 500),
    'engine_aborted',
  ],
  ['vLLM: key refused', 401, { error: 'Unauthorized' }, 'engine_unauthorized'],
  ['a plain 500', 500, vllm('index out of range', 'InternalServerError', 500), 'engine_error'],
  [
    'llama.cpp: prompt too long',
    400,
    llamaCpp(
      400,
      'request (3031 tokens) exceeds the available context size (2048 tokens)',
      'exceed_context_size_error',
    ),
    'context_length_exceeded',
  ],
  [
    'llama.cpp: bad JSON',
    400,
    llamaCpp(400, '[json.exception.parse_error.101] parse error', 'invalid_request_error'),
    'invalid_request',
  ],
  [
    'llama.cpp: unknown path',
    404,
    llamaCpp(404, 'File Not Found', 'not_found_error'),
    'unsupported_endpoint',
  ],
  [
    'llama.cpp: no embeddings',
    501,
    llamaCpp(
      501,
      'This server does not support embeddings. Start it with `--embeddings`',
      'not_supported_error',
    ),
    'unsupported_endpoint',
  ],
  ['llama.cpp: loading', 503, llamaCpp(503, 'Loading model', 'unavailable_error'), 'engine_overloaded'],
  ['429', 429, { error: { message: 'Too many requests.' } }, 'engine_overloaded'],
  ['a proxy without its engine', 502, '<html><h1>502 Bad Gateway</h1></html>', 'engine_unreachable'],
  ['a proxy that gave up', 504, '<html>504</html>', 'engine_error'],
  ['too large for the engine', 413, '<html>413</html>', 'invalid_request'],
  ['unprocessable', 422, { detail: [{ msg: 'field required' }] }, 'invalid_request'],
  ['a redirect', 302, '', 'invalid_response'],
  ['an HTML page with 404', 404, '<html>nothing here</html>', 'unsupported_endpoint'],
  ['200 that is not JSON', 200, '<html>welcome</html>', 'invalid_response'],
  ['200 cut short', 200, '{"choices":[{"message":', 'invalid_response'],
  ['200 with an array', 200, '[]', 'invalid_response'],
  ['200 without choices', 200, { object: 'chat.completion' }, 'invalid_response'],
  ['200 with an error inside', 200, { error: { message: 'overloaded', code: 503 } }, 'engine_overloaded'],
  ['finish_reason abort', 200, chat('abort'), 'engine_aborted'],
  ['finish_reason error', 200, chat('error'), 'engine_error'],
  ['an error type that every object has', 400, vllm('no', 'constructor', 400), 'invalid_request'],
];

describe('failures', () => {
  test.each(FAILURES)('%s (%i) is told', (_name, status, body, code) => {
    expect(classify(CHAT, answer(status, body))).toMatchObject({ ok: false, code, status });
  });

  test('the words and the body of the engine are kept', () => {
    const body = vllm('temperature must be non-negative', 'BadRequestError', 400, 'temperature');
    const verdict = classify(CHAT, answer(400, JSON.stringify(body, null, 2)));
    expect(verdict).toMatchObject({ message: 'temperature must be non-negative' });
    const text = Buffer.from(verdict?.body ?? []).toString();
    expect(text).not.toContain('\n');
    expect(JSON.parse(text)).toEqual(body);
  });

  test('a body that is no JSON is left out, and so is a partial answer', () => {
    expect(classify(CHAT, answer(502, '<html>'))?.body).toHaveLength(0);
    expect(classify(CHAT, answer(200, chat('abort')))?.body).toHaveLength(0);
  });

  test.each([
    ['refused', 'engine_unreachable'],
    ['raced', 'connection_lost'],
    ['silent', 'connection_lost'],
    ['partial', 'connection_lost'],
  ] as const)('a connection that is %s is %s', (broken, code) => {
    expect(classify(CHAT, { kind: 'broken', broken, ms: 1 })).toMatchObject({ code, broken, status: 0 });
  });

  test('time-outs and oversize are told apart, and our own aborts tell nothing', () => {
    expect(classify(CHAT, { kind: 'timeout', ms: 1 })).toMatchObject({ code: 'item_timeout' });
    expect(classify(CHAT, { kind: 'too_large', ms: 1 })).toMatchObject({ code: 'answer_too_large' });
    expect(classify(CHAT, { kind: 'unreadable', ms: 1 })).toMatchObject({ code: 'invalid_response' });
    expect(classify(CHAT, { kind: 'aborted', ms: 1 })).toBeNull();
  });
});

describe('answers', () => {
  test.each(['stop', 'length', 'tool_calls', 'content_filter'])('finish_reason %s is complete', (reason) => {
    expect(classify(CHAT, answer(200, chat(reason)))).toMatchObject({ ok: true });
  });

  test.each([null, 'model_length', 'constructor', 7, {}, [], true, undefined])(
    'a reason that nobody lists (%j) ends an answer like any other, and is counted',
    (reason) => {
      const listed = reason === null || reason === undefined ? 'none' : 'other';
      const delivered = { ok: true, finishReason: listed };
      expect(classify(CHAT, answer(200, chat(reason)))).toMatchObject(delivered);
      expect(classify('/v1/messages', answer(200, { content: [], stop_reason: reason }))).toMatchObject(
        delivered,
      );
      expect(classify('/v1/responses', answer(200, { output: [], status: reason }))).toMatchObject(delivered);
    },
  );

  test.each([-1, 1.5, '7', null, true, {}, [], 1e300, Number.MAX_SAFE_INTEGER, undefined])(
    'a count of %j tokens counts nothing, and the answer is delivered as it came',
    (count) => {
      const odd = { prompt_tokens: 9, completion_tokens: count, prompt_tokens_details: count };
      const reply = answer(200, { ...chat('stop'), usage: odd });
      const verdict = classify(CHAT, reply);
      expect(verdict).toMatchObject({ ok: true, usage: [9, 0, 0, 0] });
      expect(reply.kind === 'answer' && verdict?.body === reply.body).toBe(true);
      for (const usage of [count, { prompt_tokens: count }, { input_tokens: count }]) {
        const none = answer(200, { ...chat('stop'), output: [], content: [], usage });
        for (const path of [CHAT, '/v1/messages', '/v1/responses'])
          expect(classify(path, none)).toMatchObject({ ok: true, usage: undefined });
      }
    },
  );

  test('one aborted choice among several makes the whole answer no result', () => {
    const body = { choices: [...chat('stop').choices, ...chat('abort').choices] };
    expect(classify(CHAT, answer(200, body))).toMatchObject({ ok: false, code: 'engine_aborted' });
  });

  test('nested deeper than can be followed is none, with words', () => {
    const deep = (depth: number) => `${'['.repeat(depth)}"]"${']'.repeat(depth)}`;
    const nested = (depth: number) =>
      answer(200, `{"choices":[{"finish_reason":"stop"}],"x":${deep(depth)}}`);
    expect(classify(CHAT, nested(999))).toMatchObject({ ok: true });
    expect(classify(CHAT, nested(1_000))).toMatchObject({
      ok: false,
      code: 'invalid_response',
      message: expect.stringContaining('answerDepth'),
    });
    expect(classify(CHAT, nested(100_000))).toMatchObject({ code: 'invalid_response' });
  });

  test('the bytes pass through as they came', () => {
    const reply = answer(200, `{ "choices": [{"finish_reason":"stop"}], "x": 1e400, "text": "é" }`);
    expect(reply.kind === 'answer' && classify(CHAT, reply)?.body === reply.body).toBe(true);
  });

  test('line breaks and the separators of Python are made safe', () => {
    const verdict = classify(
      CHAT,
      answer(200, '{\n "choices": [{"finish_reason":"stop"}],\r\n "t": "a\u2028b\u0085c"}'),
    );
    const text = Buffer.from(verdict?.body ?? []).toString();
    expect(text).toMatch(/^[^\n\r\u2028\u0085]+$/);
    expect(JSON.parse(text).t).toBe('a\u2028b\u0085c');
  });

  test.each([
    [
      CHAT,
      {
        ...chat('stop'),
        usage: { prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 4 } },
      },
      [10, 4, 5, 0],
    ],
    [
      CHAT,
      {
        ...chat('stop'),
        usage: { prompt_tokens: 1, completion_tokens: 9, completion_tokens_details: { reasoning_tokens: 7 } },
      },
      [1, 0, 9, 7],
    ],
    [
      '/v1/embeddings',
      { data: [{ embedding: [1] }], usage: { prompt_tokens: 3, total_tokens: 3 } },
      [3, 0, 0, 0],
    ],
    [
      '/v1/messages',
      {
        content: [],
        stop_reason: 'end_turn',
        usage: { input_tokens: 5, cache_read_input_tokens: 20, output_tokens: 2 },
      },
      [25, 20, 2, 0],
    ],
    [
      '/v1/responses',
      {
        output: [],
        status: 'completed',
        usage: {
          input_tokens: 8,
          input_tokens_details: { cached_tokens: 6 },
          output_tokens: 3,
          output_tokens_details: { reasoning_tokens: 1 },
        },
      },
      [8, 6, 3, 1],
    ],
  ])('%s: tokens are counted', (path, body, usage) => {
    expect(classify(path, answer(200, body))).toMatchObject({ ok: true, usage });
  });

  test.each([
    ['/v1/messages', { content: [], stop_reason: 'abort' }, 'engine_aborted'],
    ['/v1/responses', { output: [], status: 'failed' }, 'engine_error'],
    ['/v1/responses', { output: [], status: 'in_progress' }, 'invalid_response'],
    ['/v1/embeddings', { data: [] }, 'invalid_response'],
    ['/v1/completions', { choices: [{ text: 'x', finish_reason: 'abort' }] }, 'engine_aborted'],
  ])('%s: an answer that is none is told', (path, body, code) => {
    expect(classify(path, answer(200, body))).toMatchObject({ ok: false, code });
  });

  test('endpoints that we do not know may answer any object, without tokens', () => {
    expect(classify('/v1/score', answer(200, { data: 1 }))).toMatchObject({ ok: true, usage: undefined });
  });
});

test('Retry-After is read as seconds, as a date, and in milliseconds', () => {
  expect(parseRetryAfterMs('2')).toBe(2_000);
  expect(parseRetryAfterMs('2', '150')).toBe(150);
  expect(parseRetryAfterMs('Thu, 01 Jan 1970 00:00:10 GMT', undefined, 4_000)).toBe(6_000);
  expect(parseRetryAfterMs('Thu, 01 Jan 1970 00:00:10 GMT', undefined, 40_000)).toBe(0);
  expect(parseRetryAfterMs('soon')).toBeNull();
  expect(parseRetryAfterMs(undefined)).toBeNull();
});
