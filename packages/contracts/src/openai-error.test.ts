import { describe, expect, it } from 'vitest';
import { itemError } from './failures.js';
import { openAiErrorBody } from './openai-error.js';

const failure = itemError('invalid_request', 'the words of the engine');
const errorOf = (text: string): unknown => {
  const body = openAiErrorBody(Buffer.from(text), failure);
  return JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString());
};

describe('the error of an engine in OpenAI’s form', () => {
  it.each<[string, string, object]>([
    [
      'vLLM: a numeric code',
      '{"error":{"message":"m","type":"BadRequestError","param":null,"code":400}}',
      { error: { message: 'm', type: 'BadRequestError', param: null, code: '400' } },
    ],
    [
      'llama.cpp: no param, and more beside',
      '{"error":{"code":400,"message":"m","type":"exceed_context_size_error","n_ctx":2048}}',
      { error: { message: 'm', type: 'exceed_context_size_error', param: null, code: '400', n_ctx: 2048 } },
    ],
    [
      'odd types everywhere',
      '{"error":{"message":null,"type":7.0,"param":["a"],"code":{"a":1}},"id":"x"}',
      { error: { message: 'the words of the engine', type: '7.0', param: null, code: null }, id: 'x' },
    ],
    [
      'without the object around it',
      '{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}',
      { error: { message: 'm', type: 'BadRequestError', param: null, code: '400' } },
    ],
    ...['{"error":"bare text"}', '{"detail":[{"msg":"x"}]}', '[]', '1.0', '<html>', ''].map(
      (body): [string, string, object] => [
        `none: ${body}`,
        body,
        {
          error: {
            message: 'the words of the engine',
            type: 'invalid_request_error',
            param: null,
            code: 'invalid_request',
          },
        },
      ],
    ),
  ])('%s', (_, text, body) => {
    expect(errorOf(text)).toEqual(body);
  });

  it('is the bytes that came where nothing is to be changed', () => {
    const body = Buffer.from('{ "error" : {"message":"m","type":"t","param":"p","code":null, "id":1.0} }');
    expect(openAiErrorBody(body, failure)).toBe(body);
  });

  it('is one line, with digits as they were written', () => {
    const text = '{"error":{"message":"a\\u2028b","code":400,"id":1234567890123456789}}';
    const body = openAiErrorBody(Buffer.from(text), failure);
    expect(body).toContain('"a\\u2028b"');
    expect(body).toContain('"id":1234567890123456789');
  });
});
