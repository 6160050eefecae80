import { toMessageBatchId } from '@batch-infer/contracts';
import type { AnthropicError, MessageBatch } from '@batch-infer/contracts/anthropic';
import type { Job, Problem } from '@batch-infer/contracts/native';
import type { Batch, FileObject } from '@batch-infer/contracts/openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';

/**
 * Twenty requests with one fault, as every peer was tried with (and where most of them fail without a word, or run
 * something else than was asked for): each is answered at upload or create, with the place, in the words of the dialect.
 */
let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const COUNT = 20;
type Fields = Record<string, unknown>;
const chatBody = (): Fields => ({ model: 'm', messages: [{ role: 'user', content: 'canary-prompt' }] });
const openaiLine = (index: number): Fields => ({
  custom_id: `q-${index}`,
  method: 'POST',
  url: '/v1/chat/completions',
  body: chatBody(),
});
/** The file with one line replaced; lines count from 1. */
function fileWith(line: number, change: (fields: Fields) => unknown): string {
  return Array.from({ length: COUNT }, (_, index) => {
    const fields = openaiLine(index);
    const changed = index + 1 === line ? change(fields) : fields;
    return `${typeof changed === 'string' ? changed : JSON.stringify(changed)}\n`;
  }).join('');
}
const upload = (text: string, purpose = 'batch') =>
  api.fastify.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
    payload: `--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n${purpose}\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n${text}\r\n--x--\r\n`,
  });
const createBatch = (fileId: string, more: Fields = {}) =>
  api.fastify.inject({
    method: 'POST',
    url: '/v1/batches',
    payload: {
      input_file_id: fileId,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      ...more,
    },
  });
const fileOf = async (text: string) => {
  const answer = await upload(text);
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<FileObject>();
};
const batchOf = async (text: string, more: Fields = {}) => {
  const answer = await createBatch((await fileOf(text)).id, more);
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json<Batch>();
};

describe('OpenAI: a file with one bad line is refused at upload', () => {
  it.each<[string, string, number, string, string | null]>([
    ['bad JSON', fileWith(7, () => '{"custom_id":"q-6","body":{canary'), 7, 'invalid_json', null],
    ['a line that is no object', fileWith(7, () => '[1]'), 7, 'not_an_object', null],
    ['no body', fileWith(5, ({ body: _, ...line }) => line), 5, 'missing_body', 'body'],
    [
      'an empty custom_id',
      fileWith(5, (line) => ({ ...line, custom_id: '' })),
      5,
      'invalid_custom_id',
      'custom_id',
    ],
    [
      'a custom_id that came before',
      fileWith(9, (line) => ({ ...line, custom_id: 'q-2' })),
      9,
      'duplicate_custom_id',
      'custom_id',
    ],
    ['a nonsense URL', fileWith(5, (line) => ({ ...line, url: '/v1/nonsense' })), 5, 'invalid_url', 'url'],
    ['the method GET', fileWith(5, (line) => ({ ...line, method: 'GET' })), 5, 'invalid_method', 'method'],
    [
      'a stream',
      fileWith(5, (line) => ({ ...line, body: { ...chatBody(), stream: true } })),
      5,
      'stream_not_supported',
      'body.stream',
    ],
    [
      'a model that is no string',
      fileWith(5, (line) => ({ ...line, body: { ...chatBody(), model: 5 } })),
      5,
      'invalid_model',
      'body.model',
    ],
    [
      'no messages',
      fileWith(5, (line) => ({ ...line, body: { model: 'm' } })),
      5,
      'missing_parameter',
      'body.messages',
    ],
  ])('%s', async (_, text, line, code, param) => {
    const answer = await upload(text);
    expect(answer.statusCode).toBe(400);
    const problem = answer.json<Problem>();
    expect(problem).toMatchObject({
      code: 'invalid_file',
      errors: [{ line, code, param }],
      error: { type: 'invalid_request_error', code: 'invalid_file', param },
    });
    expect(problem.errors).toHaveLength(1);
    expect(problem.error.message).toContain(`Line ${line}`);
    expect(answer.body).not.toContain('canary');
  });

  it.each([
    ['an empty file', ''],
    ['blank lines only', '\n \r\n\t\n'],
  ])('%s', async (_, text) => {
    const answer = await upload(text);
    expect(answer.statusCode).toBe(400);
    expect(answer.json<Problem>().error).toMatchObject({ code: 'empty_file', type: 'invalid_request_error' });
  });
});

describe('OpenAI: what only the batch can judge makes a batch that has failed, with its lines', () => {
  it.each<[string, string, number, string, string]>([
    ['no custom_id', fileWith(5, ({ custom_id: _, ...line }) => line), 5, 'missing_custom_id', 'custom_id'],
    [
      'no model',
      fileWith(5, (line) => ({ ...line, body: { messages: chatBody().messages } })),
      5,
      'missing_model',
      'body.model',
    ],
    [
      'the URL of another endpoint',
      fileWith(5, (line) => ({ ...line, url: '/v1/embeddings', body: { model: 'm', input: 'x' } })),
      5,
      'mismatched_url',
      'url',
    ],
  ])('%s', async (_, text, line, code, param) => {
    const batch = await batchOf(text);
    expect(batch).toMatchObject({
      status: 'failed',
      request_counts: { total: 0, completed: 0, failed: 0 },
      output_file_id: null,
      error_file_id: null,
    });
    expect(batch.errors).toEqual({
      object: 'list',
      data: [{ line, code, param, message: expect.stringContaining(`Line ${line}`) }],
    });
  });

  it('has an entry for each bad line, in order, and at most a hundred', async () => {
    const lines = Array.from({ length: 300 }, (_, index) => {
      const { custom_id: customId, ...line } = openaiLine(index);
      return `${JSON.stringify(index % 2 === 0 ? line : { ...line, custom_id: customId })}\n`;
    });
    const { errors } = await batchOf(lines.join(''));
    expect(errors?.data.map(({ line }) => line)).toEqual(
      Array.from({ length: 100 }, (_, index) => 2 * index + 1),
    );
  });
});

describe('OpenAI: a create is refused', () => {
  it.each<[string, Fields, string, string]>([
    ['with an endpoint that is nonsense', { endpoint: '/v1/nonsense' }, 'invalid_endpoint', 'endpoint'],
    ['without an endpoint', { endpoint: undefined }, 'missing_parameter', 'endpoint'],
    ['over an unknown file', { input_file_id: 'file-unknown' }, 'invalid_parameter', 'input_file_id'],
    ['over a file id that is no text', { input_file_id: 7 }, 'invalid_parameter', 'input_file_id'],
    [
      'with a window that is no time',
      { completion_window: 'soon' },
      'invalid_parameter',
      'completion_window',
    ],
    ['with a window of a year', { completion_window: '365d' }, 'invalid_parameter', 'completion_window'],
    ['without a window', { completion_window: undefined }, 'missing_parameter', 'completion_window'],
    ['with metadata that is no text', { metadata: { run: 7 } }, 'invalid_parameter', 'metadata.run'],
  ])('%s', async (_, more, code, param) => {
    const file = await fileOf(fileWith(0, (line) => line));
    const answer = await createBatch(file.id, more);
    expect(answer.statusCode).toBe(400);
    expect(answer.json<Problem>().error).toMatchObject({ type: 'invalid_request_error', code, param });
  });

  it('over a file of another purpose', async () => {
    const file = (await upload('free text', 'user_data')).json<FileObject>();
    const answer = await createBatch(file.id);
    expect([answer.statusCode, answer.json<Problem>().error.code]).toEqual([400, 'wrong_purpose']);
  });
});

describe('OpenAI: what peers refuse without need is accepted, and nothing is rewritten', () => {
  const parts = [{ type: 'text', text: 'what is it?' }];
  it.each<[string, string]>([
    [
      'content in parts',
      fileWith(5, (line) => ({
        ...line,
        body: { model: 'm', messages: [{ role: 'user', content: parts }] },
      })),
    ],
    ['another key beside', fileWith(5, (line) => ({ ...line, note: 'mine' }))],
    ['a blank line', fileWith(5, (line) => `\n${JSON.stringify(line)}`)],
    ['a byte order mark', `\ufeff${fileWith(0, (line) => line)}`],
    ['CRLF', fileWith(0, (line) => line).replaceAll('\n', '\r\n')],
    ['no last line break', fileWith(0, (line) => line).trimEnd()],
  ])('%s', async (_, text) => {
    expect(await batchOf(text)).toMatchObject({ status: 'in_progress', request_counts: { total: COUNT } });
  });

  it('60,000 lines', async () => {
    const text = Array.from({ length: 60_000 }, (_, index) => `${JSON.stringify(openaiLine(index))}\n`);
    const batch = await batchOf(text.join(''));
    await api.planner.tick(batch.id.replace('batch_', 'job_'));
    expect(batch).toMatchObject({ request_counts: { total: 60_000 } });
  });

  it('a window of an hour stays one', async () => {
    const batch = await batchOf(
      fileWith(0, (line) => line),
      { completion_window: '1h' },
    );
    expect(batch.completion_window).toBe('1h');
    expect((batch.expires_at ?? 0) - batch.created_at).toBe(3_600);
  });

  it('an unknown model keeps its line, and the wait for it is told', async () => {
    await api.saveRunner(['m']);
    const text = fileWith(5, (line) => ({ ...line, body: { ...chatBody(), model: 'nobody-has-it' } }));
    const batch = await batchOf(text);
    expect(batch).toMatchObject({ status: 'in_progress', model: null });
    const job = (await api.fastify.inject({ method: 'GET', url: `/v1/jobs/${batch.id}` })).json<Job>();
    expect(job.models).toEqual(['m', 'nobody-has-it']);
    expect(JSON.stringify(job.queue.waiting_for)).toContain('nobody-has-it');
    const shown = (await api.fastify.inject({ method: 'GET', url: `/v1/batches/${batch.id}` })).json<Batch>();
    expect(shown.x_batch_infer).toEqual({ waiting_for: job.queue.waiting_for });
    const shards = await api.ledger.listShards({ jobId: job.id, fromOrdinal: 0, toOrdinal: 9 });
    expect(shards.map(({ model, first, count }) => [model, first, count])).toEqual([
      ['m', 0, 4],
      ['nobody-has-it', 4, 1],
      ['m', 5, 15],
    ]);
  });
});

const message = (index: number): Fields => ({
  custom_id: `q-${index}`,
  params: { ...chatBody(), max_tokens: 9 },
});
const requestsWith = (index: number, change: (fields: Fields) => unknown): unknown[] =>
  Array.from({ length: COUNT }, (_, at) => (at === index ? change(message(at)) : message(at)));
const createMessages = (payload: string | object) =>
  api.fastify.inject({
    method: 'POST',
    url: '/v1/messages/batches',
    headers: { 'content-type': 'application/json' },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
const params = (change: Fields) => (fields: Fields) => ({
  ...fields,
  params: { ...(fields.params as Fields), ...change },
});

describe('Anthropic: a batch with one bad request is refused at create', () => {
  it.each<[string, (fields: Fields) => unknown, string | null]>([
    ['a request that is no object', () => 7, null],
    ['no params', ({ params: _, ...fields }) => fields, 'params'],
    ['no custom_id', ({ custom_id: _, ...fields }) => fields, 'custom_id'],
    ['an empty custom_id', (fields) => ({ ...fields, custom_id: '' }), 'custom_id'],
    ['a custom_id with a dot', (fields) => ({ ...fields, custom_id: 'a.b' }), 'custom_id'],
    ['a custom_id that came before', (fields) => ({ ...fields, custom_id: 'q-2' }), 'custom_id'],
    ['no model', params({ model: undefined }), 'params.model'],
    ['no max_tokens', params({ max_tokens: undefined }), 'params.max_tokens'],
    ['no messages', params({ messages: undefined }), 'params.messages'],
    ['empty messages', params({ messages: [] }), 'params.messages'],
    ['a stream', params({ stream: true }), 'params.stream'],
    ['another key beside', (fields) => ({ ...fields, url: '/v1/embeddings' }), 'url'],
  ])('%s', async (_, change, param) => {
    const answer = await createMessages({ requests: requestsWith(8, change) });
    expect(answer.statusCode, answer.body).toBe(400);
    const body = answer.json<AnthropicError>();
    const path = param === null ? 'requests.8' : `requests.8.${param}`;
    expect(body).toMatchObject({
      type: 'error',
      error: { type: 'invalid_request_error' },
      x_batch_infer: { errors: [{ param: path }] },
    });
    expect(body.error.message).toContain(path);
    expect(answer.body).not.toContain('canary');
  });

  it.each<[string, string | object, string]>([
    [
      'bad JSON in a request',
      `{"requests":[${JSON.stringify(message(0))},{"custom_id":canary}]}`,
      'requests.1',
    ],
    ['bad JSON around requests', '{"requests":[}', 'not valid JSON'],
    ['no JSON at all', 'canary', 'not valid JSON'],
    ['no requests', {}, 'requests'],
    ['empty requests', { requests: [] }, 'requests'],
    ['requests that are no list', { requests: { a: message(0) } }, 'requests'],
    ['a key that nobody knows', { requests: [message(0)], endpoint: '/v1/messages' }, 'endpoint'],
  ])('%s', async (_, body, text) => {
    const answer = await createMessages(body);
    expect(answer.statusCode, answer.body).toBe(400);
    expect(answer.json<AnthropicError>()).toMatchObject({ error: { type: 'invalid_request_error' } });
    expect(answer.json<AnthropicError>().error.message).toContain(text);
    expect(answer.body).not.toContain('canary');
  });

  it.each<[string, string | object]>([
    [
      'content in blocks',
      {
        requests: requestsWith(
          3,
          params({ messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] }),
        ),
      },
    ],
    [
      'temperature, top_p and top_k',
      { requests: requestsWith(3, params({ temperature: 1, top_p: 1, top_k: 9 })) },
    ],
    ['a byte order mark', `\ufeff${JSON.stringify({ requests: requestsWith(-1, () => null) })}`],
    ['line breaks everywhere', JSON.stringify({ requests: requestsWith(-1, () => null) }, null, 2)],
    ['an unknown model', { requests: requestsWith(3, params({ model: 'nobody-has-it' })) }],
  ])('but accepted with %s', async (_, body) => {
    const answer = await createMessages(body);
    expect(answer.statusCode, answer.body).toBe(200);
    const batch = answer.json<MessageBatch>();
    expect(batch.request_counts.processing).toBe(COUNT);
    expect(batch.id).toBe(toMessageBatchId(batch.id.replace('msgbatch_', 'job_')));
  });
});
