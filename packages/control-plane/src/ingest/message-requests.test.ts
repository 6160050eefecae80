import { Readable } from 'node:stream';
import { type InputError, LIMITS } from '@batch-infer/contracts';
import { JsonlScanner } from '@batch-infer/contracts/jsonl';
import { describe, expect, it } from 'vitest';
import { MessageRequests } from './message-requests.js';

async function read(
  body: string | Buffer,
  chunkBytes = 11,
): Promise<{ text: string; errors: InputError[]; errorCount: number; items: number }> {
  const requests = new MessageRequests();
  const scanner = new JsonlScanner(requests.scanOptions);
  const bytes = Buffer.from(body);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) chunks.push(bytes.subarray(at, at + chunkBytes));
  let text = '';
  for await (const piece of requests.linesOf(Readable.from(chunks))) {
    scanner.push(piece);
    text += piece.toString('utf8');
  }
  const scan = scanner.end();
  return { text, items: scan.summary.items, ...requests.judge(scan) };
}

const params = { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'canary-prompt' }] };
const request = (customId: unknown, more: object = {}) => ({
  custom_id: customId,
  params: { ...params, ...more },
});
const bodyOf = (...requests: unknown[]) => JSON.stringify({ requests });

describe('requests of a message batch as lines', () => {
  it('keeps values as the bytes that came, and breaks no line', async () => {
    const body = `{"requests": [
      {"custom_id": "a", "params": {"model": "m", "max_tokens": 9, "seed": 12345678901234567890,
        "messages": [{"role":"user","content":"one\\ntwo \\u2028"}], "__proto__": {"x": 1}}},
      {"params": ${JSON.stringify(params)}, "custom_id": "b"}
    ]}`;
    const { text, errors, items } = await read(body);
    expect(errors).toEqual([]);
    expect(items).toBe(2);
    const lines = text.split('\n').filter(Boolean);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain('12345678901234567890');
    expect(lines[0]).toContain('"content":"one\\ntwo \\u2028"');
    expect(lines[0]).toContain('"__proto__": {"x": 1}');
    expect(JSON.parse(lines[1] ?? '')).toEqual({ custom_id: 'b', body: params });
  });

  it('makes the same lines however the bytes are cut', async () => {
    const body = bodyOf(request('a'), request('b'), request('c'));
    const whole = await read(body, 10_000);
    for (const chunkBytes of [1, 2, 17, 64]) expect(await read(body, chunkBytes)).toEqual(whole);
  });

  it.each<[string, unknown, string, string]>([
    ['a custom_id that is missing', { params }, 'requests.1.custom_id', 'requests.1.custom_id is missing'],
    [
      'a custom_id with a space',
      request('a b'),
      'requests.1.custom_id',
      'requests.1.custom_id must be a string that matches ^[a-zA-Z0-9_-]{1,64}$',
    ],
    ['a custom_id that is too long', request('x'.repeat(65)), 'requests.1.custom_id', 'must be a string'],
    ['a custom_id that is a number', request(7), 'requests.1.custom_id', 'must be a string'],
    [
      'a custom_id that came before',
      request('first'),
      'requests.1.custom_id',
      'requests.1.custom_id "first" is already the custom_id of requests.0',
    ],
    ['params that are missing', { custom_id: 'a' }, 'requests.1.params', 'requests.1.params is missing'],
    [
      'params that are a list',
      { custom_id: 'a', params: [] },
      'requests.1.params',
      'requests.1.params must be a JSON object, but is an array',
    ],
    [
      'a model that is missing',
      request('a', { model: undefined }),
      'requests.1.params.model',
      'requests.1.params.model is missing',
    ],
    [
      'max_tokens that is missing',
      request('a', { max_tokens: undefined }),
      'requests.1.params.max_tokens',
      'requests.1.params.max_tokens is missing',
    ],
    [
      'max_tokens that is no number',
      request('a', { max_tokens: '9' }),
      'requests.1.params.max_tokens',
      'must be a whole number of at least 1',
    ],
    [
      'messages that are missing',
      request('a', { messages: undefined }),
      'requests.1.params.messages',
      'requests.1.params.messages is missing',
    ],
    [
      'messages that are empty',
      request('a', { messages: [] }),
      'requests.1.params.messages',
      'requests.1.params.messages is empty',
    ],
    [
      'a stream',
      request('a', { stream: true }),
      'requests.1.params.stream',
      'requests.1.params.stream must not be true',
    ],
    [
      'a key that nobody knows',
      { ...request('a'), priority: 1 },
      'requests.1.priority',
      'requests.1.priority is not a known parameter',
    ],
    ['a request that is text', 'a', 'requests.1', 'requests.1 must be an object'],
    ['a request that is a list', [request('a')], 'requests.1', 'requests.1 must be an object'],
  ])('refuses %s, and quotes no prompt', async (_, bad, param, message) => {
    const { errors, errorCount } = await read(bodyOf(request('first'), bad, request('last')));
    expect(errorCount).toBe(1);
    expect(errors).toMatchObject([{ line: null, param }]);
    expect(errors[0]?.message).toContain(message);
    expect(JSON.stringify(errors)).not.toContain('canary');
  });

  it('names broken JSON by its request', async () => {
    const body = `{"requests":[${JSON.stringify(request('a'))},{"custom_id":"b","params":{"model":nope}}]}`;
    expect((await read(body)).errors).toMatchObject([
      {
        param: 'requests.1',
        code: 'invalid_json',
        message: 'requests.1 is not valid JSON: expected a value',
      },
    ]);
  });

  it('names all bad requests in order, at most a hundred of them', async () => {
    const bad = Array.from({ length: 150 }, (_, index) => (index % 2 === 0 ? 5 : request('same')));
    const { errors, errorCount } = await read(bodyOf(...bad), 4_096);
    // The first "same" is fine.
    expect(errorCount).toBe(149);
    expect(errors).toHaveLength(LIMITS.reportedErrors);
    expect(errors.map(({ param }) => Number(param?.split('.')[1]))).toEqual(
      Array.from({ length: 101 }, (_, index) => index).filter((index) => index !== 1),
    );
  });

  it.each<[string, string, string]>([
    ['{}', 'requests', 'requests is missing'],
    ['{"requests":[]}', 'requests', 'requests must have at least one request'],
    ['{"requests":{}}', 'requests', 'requests must be an array'],
    [`{"requests":[${JSON.stringify(request('a'))}],"model":"m"}`, 'model', 'model is not a known parameter'],
    ['{"requests":[1]}', 'requests.0', 'requests.0 must be an object'],
  ])('refuses %s', async (body, param, message) => {
    const { errors, errorCount } = await read(body);
    expect(errorCount).toBe(1);
    expect(errors).toMatchObject([{ param }]);
    expect(errors[0]?.message).toContain(message);
  });

  it('refuses a body that is no JSON, with the place', async () => {
    await expect(read('{"requests":[}')).rejects.toMatchObject({
      code: 'invalid_json',
      message: "The body is not valid JSON: expected a value or ']' (byte 13).",
    });
    await expect(read('{"requests":[{"a":1}')).rejects.toMatchObject({ code: 'invalid_json' });
  });

  it('refuses a body beyond its limit as soon as it is', async () => {
    const maxBytes = 4 << 20;
    const piece = Buffer.alloc(64 * 1024, ' ');
    let sent = 0;
    const endless = Readable.from(
      (function* () {
        for (;;) {
          sent += piece.length;
          yield piece;
        }
      })(),
    );
    const reading = async () => {
      for await (const _ of new MessageRequests({ maxBytes }).linesOf(endless));
    };
    await expect(reading()).rejects.toMatchObject({ code: 'body_too_large' });
    expect(sent).toBeLessThan(maxBytes + 32 * piece.length);
    endless.destroy();
  });

  it('refuses a request whose key stands twice', async () => {
    const body = '{"requests":[{"custom_id":"a","custom_id":"b","params":{}}]}';
    const { errors } = await read(body, 1 << 20);
    expect(errors).toMatchObject([{ param: 'requests.0.custom_id', code: 'repeated_key' }]);
  });

  it('counts the limit of a batch, not of a file', async () => {
    const one = JSON.stringify(request('ID'));
    const body = `{"requests":[${Array.from({ length: 100_001 }, (_, index) => one.replace('ID', String(index))).join(',')}]}`;
    const reading = read(body, 1 << 20);
    await expect(reading).rejects.toMatchObject({
      code: 'invalid_file',
      param: 'requests',
      errors: [{ code: 'too_many_items' }],
    });
  });
});
