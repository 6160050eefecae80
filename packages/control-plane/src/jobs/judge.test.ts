import { JsonlScanner } from '@batch-infer/contracts/jsonl';
import { describe, expect, it } from 'vitest';
import { itemsByModel, judge, modelsOf, shardsOf } from './judge.js';

function summaryOf(...lines: readonly object[]) {
  const scanner = new JsonlScanner();
  scanner.push(Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join('')));
  const { summary, errors } = scanner.end();
  expect(errors).toEqual([]);
  return summary;
}
const chat = (model?: string, url?: string) => ({
  ...(url === undefined ? {} : { url }),
  body: { messages: [{}], input: 'x', prompt: 'x', ...(model === undefined ? {} : { model }) },
});

describe('judge', () => {
  it('names the lines that lack what the job does not give, in order', () => {
    const summary = summaryOf(chat('m', '/v1/embeddings'), chat(undefined, '/v1/embeddings'), chat('m'));
    expect(judge({ summary, options: {}, sameEndpoint: false })).toEqual({
      errorCount: 2,
      errors: [
        { line: 2, param: 'body.model', code: 'missing_model', message: expect.stringContaining('Line 2') },
        { line: 3, param: 'url', code: 'missing_url', message: expect.stringContaining('Line 3') },
      ],
    });
    expect(
      judge({ summary, options: { model: 'm', endpoint: '/v1/responses' }, sameEndpoint: false }).errorCount,
    ).toBe(0);
    expect(
      judge({
        summary,
        options: { defaults: { model: 'm' }, endpoint: '/v1/responses' },
        sameEndpoint: false,
      }).errorCount,
    ).toBe(0);
  });

  it('holds every line to the endpoint of an OpenAI batch', () => {
    const summary = summaryOf(...Array.from({ length: 150 }, () => chat('m', '/v1/completions')), chat('m'));
    const { errors, errorCount } = judge({
      summary,
      options: { endpoint: '/v1/embeddings' },
      sameEndpoint: true,
    });
    expect([errors.length, errorCount, errors[0]?.code]).toEqual([100, 150, 'mismatched_url']);
  });

  it('gives lines without a model the default one, defaults first', () => {
    const summary = summaryOf(chat(), chat('b'), chat());
    expect(modelsOf(summary, { model: 'a' })).toEqual(['a', 'b']);
    expect(itemsByModel(summary, { model: 'b' })).toEqual({ b: 3 });
    expect(shardsOf(summary, { defaults: { model: 'd' } }).map(({ model }) => model)).toEqual([
      'd',
      'b',
      'd',
    ]);
  });
});
