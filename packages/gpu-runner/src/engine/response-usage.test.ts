import { describe, expect, test } from 'vitest';
import { classify } from './classify.js';
import { withWholeUsage } from './response-usage.js';

const completed = (usage: unknown) => ({ status: 'completed', output: [], usage });
const whole = (body: object) => withWholeUsage(JSON.stringify(body), { ...body });
const WHOLE = {
  input_tokens: 8,
  input_tokens_details: { cached_tokens: 6, cache_write_tokens: 2 },
  output_tokens: 3,
  output_tokens_details: { reasoning_tokens: 1 },
  total_tokens: 11,
};

describe('the usage of a response', () => {
  test('gets the counters that are left out, and keeps those that are there', () => {
    const body = completed({
      input_tokens: 8,
      input_tokens_details: { cached_tokens: 6, input_tokens_per_turn: [8] },
      output_tokens: 3,
      output_tokens_details: { reasoning_tokens: null },
      total_tokens: 11,
    });
    expect(JSON.parse(whole(body)).usage).toEqual({
      input_tokens: 8,
      input_tokens_details: { cached_tokens: 6, input_tokens_per_turn: [8], cache_write_tokens: 0 },
      output_tokens: 3,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 11,
    });
    expect(
      JSON.parse(whole(completed({ input_tokens: 1, output_tokens: 2, total_tokens: 3 }))).usage,
    ).toEqual({
      input_tokens: 1,
      output_tokens: 2,
      total_tokens: 3,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    });
  });

  test.each([
    ['that is whole', completed(WHOLE)],
    ['that is null', completed(null)],
    ['that is no object', completed('much')],
    ['that is not there', { output: [] }],
    ['whose details are no objects', completed({ input_tokens_details: 1, output_tokens_details: [] })],
  ])('%s is left alone', (_, body) => {
    expect(whole(body)).toBe(JSON.stringify(body));
  });

  test('is the only thing that changes, wherever else the word stands', () => {
    const before =
      '{ "usage":{"old": true}, "x": 1e400, "output": [{"usage": {"a": [1, 2]}, "text": "\\"usage\\": {\\\\"}], "usage" : ';
    const after = ' , "text": "usage", "top": ["usage", {}], "temperature": 1.0 }';
    const text = `${before}{"input_tokens": 8}${after}`;
    const filled = withWholeUsage(text, JSON.parse(text));
    expect(filled.startsWith(before.trimEnd())).toBe(true);
    expect(filled.endsWith(after.trimStart())).toBe(true);
    expect(JSON.parse(filled)).toEqual({
      ...JSON.parse(text),
      usage: {
        input_tokens: 8,
        input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
        output_tokens_details: { reasoning_tokens: 0 },
      },
    });
  });

  test('keeps the numbers in it as they were written', () => {
    const said = '"input_tokens":8.0,"id":1234567890123456789,"input_tokens_details":{"x":1e400}';
    const filled = withWholeUsage(`{"usage":{${said}}}`, JSON.parse(`{"usage":{${said}}}`));
    expect(filled).toContain(
      '"input_tokens":8.0,"id":1234567890123456789,"input_tokens_details":{"x":1e400,',
    );
  });

  test('under a key that is written with escapes is left alone', () => {
    const text = '{"\\u0075sage":{"input_tokens":8}}';
    expect(withWholeUsage(text, JSON.parse(text))).toBe(text);
  });
});

describe('classify', () => {
  const answerTo = (path: string, text: string) => {
    const body = Buffer.from(text);
    const verdict = classify(path, { kind: 'answer', status: 200, retryAfterMs: null, ms: 1, body });
    return { same: verdict?.body === body, text: Buffer.from(verdict?.body ?? []).toString(), verdict };
  };
  const lacking = JSON.stringify({
    ...completed({ input_tokens: 8, output_tokens: 3 }),
    choices: [{ finish_reason: 'stop' }],
  });

  test('makes the usage of responses whole, and touches nothing of other endpoints', () => {
    const { text, verdict } = answerTo('/v1/responses', lacking);
    expect(JSON.parse(text).usage.input_tokens_details).toEqual({ cached_tokens: 0, cache_write_tokens: 0 });
    expect(verdict).toMatchObject({ ok: true, usage: [8, 0, 3, 0] });
    expect(answerTo('/v1/chat/completions', lacking).same).toBe(true);
    expect(answerTo('/v1/completions', lacking).same).toBe(true);
  });

  test('passes responses on as bytes that lack nothing', () => {
    expect(answerTo('/v1/responses', JSON.stringify(completed(WHOLE))).same).toBe(true);
  });
});
