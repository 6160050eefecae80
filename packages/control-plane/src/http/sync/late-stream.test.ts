import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { DomainError } from '../../errors.js';
import { toProblem } from '../problem.js';
import type { ItemAnswer } from './item-answer.js';
import { lateStream } from './late-stream.js';
import { STREAMS } from './streams.js';

const dialect = STREAMS['/v1/chat/completions'];
const messages = STREAMS['/v1/messages'];
if (dialect === undefined || messages === undefined) throw new Error('these are streamed');
const stream = { dialect, includeUsage: false };
const toErrorBody = (error: unknown) => toProblem(error, 'req_1').body;
const answerOf = (status: number, body: unknown): ItemAnswer => ({
  status,
  body: Buffer.from(JSON.stringify(body)),
  headers: {},
});

it('shows a sign of life at once, and the whole answer when it is there', async () => {
  const { promise, resolve } = Promise.withResolvers<ItemAnswer>();
  const late = lateStream({ answer: promise, stream, toErrorBody });
  const [first] = await late.take(1).toArray();
  expect(String(first)).toBe(': keep-alive\n\n');

  const other = lateStream({ answer: promise, stream, toErrorBody });
  resolve(answerOf(200, { id: 'a', object: 'chat.completion', choices: [], usage: { total_tokens: 3 } }));
  expect(await text(other)).toBe(
    ': keep-alive\n\ndata: {"id":"a","object":"chat.completion.chunk","choices":[],"usage":{"total_tokens":3}}\n\ndata: [DONE]\n\n',
  );
});

it('tells the engine’s error and ours as events of the dialect', async () => {
  const refused = Promise.resolve(answerOf(400, { error: { message: 'no', type: 'bad' } }));
  expect(await text(lateStream({ answer: refused, stream, toErrorBody }))).toContain(
    'data: {"error":{"message":"no","type":"bad"}}\n\ndata: [DONE]',
  );
  const failed = Promise.reject(new DomainError('answer_not_ready', 'Not yet.'));
  const told = await text(lateStream({ answer: failed, stream, toErrorBody }));
  expect(told).toContain('data: {"error":{"message":"Not yet.","type":"timeout_error"');
  expect(told).not.toContain('request_id');
  const ours = lateStream({
    answer: Promise.resolve(
      answerOf(529, { type: 'error', error: { type: 'overloaded_error', message: 'x' } }),
    ),
    stream: { dialect: messages, includeUsage: false },
    toErrorBody,
  });
  expect(await text(ours)).toBe(
    'event: ping\ndata: {"type": "ping"}\n\nevent: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n',
  );
});

it('tells an answer that no events can be made of as an error event of the dialect', async () => {
  for (const [path, broken] of Object.entries(STREAMS)) {
    for (const body of ['null', '"text"', '[{', '']) {
      const answer = Promise.resolve({ status: 200, headers: {}, body: Buffer.from(body) });
      const late = lateStream({ answer, stream: { dialect: broken, includeUsage: true }, toErrorBody });
      const told = await text(late);
      if (body !== '"text"')
        expect([path, told]).toEqual([path, expect.stringContaining('cannot be told as a stream')]);
      expect(told.endsWith('\n\n')).toBe(true);
    }
  }
});
