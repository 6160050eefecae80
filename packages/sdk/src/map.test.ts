import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import {
  endedJob,
  FakeServer,
  failedLine,
  resultLine,
  sendJson,
  wireJob,
} from '../test-support/fake-server.js';
import { BatchInfer } from './client.js';
import { PartialFailureError } from './errors.js';
import { outputOf } from './output.js';

const chat = (content: string) => ({ response: { choices: [{ message: { content } }] } });

async function answering(lines: string[]): Promise<FakeServer> {
  return await FakeServer.start(({ path }, response) => {
    if (path.endsWith('/results')) response.writeHead(200).end(lines.join(''));
    else if (path === '/v1/jobs') sendJson(response, 202, wireJob());
    else sendJson(response, 200, endedJob(lines.length));
  });
}

describe('map', () => {
  it('gives one text a row, in order', async () => {
    await using server = await answering([resultLine(0), resultLine(1)]);
    const client = new BatchInfer({ baseUrl: server.url });
    const answers = await client.map(['a', 'b'], (row) => ({ messages: [{ role: 'user', content: row }] }), {
      model: 'm',
    });
    expectTypeOf(answers).toEqualTypeOf<string[]>();
    expect(answers).toEqual(['answer 0', 'answer 1']);
    const body = JSON.parse(server.requests[0]?.body ?? '');
    expect(body.model).toBe('m');
    expect(body.items[1]).toEqual({ body: { messages: [{ role: 'user', content: 'b' }] } });
  });

  it('types and checks answers by a schema, through code fences too', async () => {
    await using server = await answering([
      resultLine(0, chat('{"score": 3}')),
      resultLine(1, chat('```json\n{"score": 4}\n```')),
    ]);
    const schema = z.object({ score: z.number() });
    const answers = await new BatchInfer({ baseUrl: server.url }).map([1, 2], () => ({}), { schema });
    expectTypeOf(answers).toEqualTypeOf<{ score: number }[]>();
    expect(answers).toEqual([{ score: 3 }, { score: 4 }]);
  });

  it('lets a schema of text have the text, even where it looks like JSON', async () => {
    await using server = await answering([resultLine(0, chat('42'))]);
    expect(
      await new BatchInfer({ baseUrl: server.url }).map([1], () => ({}), { schema: z.string() }),
    ).toEqual(['42']);
  });

  it('throws when a row failed, naming it', async () => {
    await using server = await answering([resultLine(0), failedLine(1)]);
    const call = new BatchInfer({ baseUrl: server.url }).map([1, 2], () => ({}), {});
    await expect(call).rejects.toBeInstanceOf(PartialFailureError);
    await expect(call).rejects.toThrow(/1 of 2 items .* item 1: engine_error/);
  });

  it('returns failures in place when asked to', async () => {
    await using server = await answering([
      failedLine(0),
      resultLine(1, chat('{"n":"x"}')),
      resultLine(2, chat('{"n":1}')),
    ]);
    const results = await new BatchInfer({ baseUrl: server.url }).map([1, 2, 3], () => ({}), {
      schema: z.object({ n: z.number() }),
      onError: 'return',
    });
    expect(results).toMatchObject([
      { ok: false, error: { code: 'engine_error' } },
      { ok: false, error: { code: 'schema_mismatch' } },
      { ok: true, value: { n: 1 } },
    ]);
  });

  it('asks nobody when there are no rows', async () => {
    expect(await new BatchInfer({ baseUrl: 'http://nowhere.invalid' }).map([], () => ({}))).toEqual([]);
  });
});

describe('outputOf', () => {
  it.each([
    ['chat completions', chat('hi').response, 'hi'],
    ['completions', { choices: [{ text: 'hi' }] }, 'hi'],
    ['responses', { output: [{ type: 'message', content: [{ type: 'output_text', text: 'hi' }] }] }, 'hi'],
    [
      'messages',
      {
        content: [
          { type: 'text', text: 'h' },
          { type: 'text', text: 'i' },
        ],
      },
      'hi',
    ],
    ['embeddings', { data: [{ embedding: [1, 2] }] }, [1, 2]],
    ['anything else', { foo: 1 }, undefined],
  ])('finds the answer in %s', (_name, response, expected) => {
    expect(outputOf(response)).toEqual(expected);
  });
});
