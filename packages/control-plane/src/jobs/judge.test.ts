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
const chat = (model?: string, url?: string, more: object = {}) => ({
  ...more,
  ...(url === undefined ? {} : { url }),
  body: { messages: [{}], input: 'x', prompt: 'x', ...(model === undefined ? {} : { model }) },
});

describe('judge', () => {
  it('names the lines that lack what the job does not give, in order', () => {
    const summary = summaryOf(chat('m', '/v1/embeddings'), chat(undefined, '/v1/embeddings'), chat('m'));
    expect(judge({ summary, options: {}, openai: false })).toEqual({
      errorCount: 2,
      errors: [
        { line: 2, param: 'body.model', code: 'missing_model', message: expect.stringContaining('Line 2') },
        { line: 3, param: 'url', code: 'missing_url', message: expect.stringContaining('Line 3') },
      ],
    });
    expect(
      judge({ summary, options: { model: 'm', endpoint: '/v1/responses' }, openai: false }).errorCount,
    ).toBe(0);
    expect(
      judge({
        summary,
        options: { defaults: { model: 'm' }, endpoint: '/v1/responses' },
        openai: false,
      }).errorCount,
    ).toBe(0);
  });

  it('holds every line to the endpoint of an OpenAI batch', () => {
    const summary = summaryOf(
      ...Array.from({ length: 150 }, (_, index) => chat('m', '/v1/completions', { custom_id: `q-${index}` })),
      chat('m', undefined, { custom_id: 'last' }),
    );
    const { errors, errorCount } = judge({
      summary,
      options: { endpoint: '/v1/embeddings' },
      openai: true,
    });
    expect([errors.length, errorCount, errors[0]?.code]).toEqual([100, 150, 'mismatched_url']);
  });

  it('wants a custom_id in every line of an OpenAI batch, and of no other job', () => {
    const summary = summaryOf(chat('m', undefined, { custom_id: 'a' }), chat('m'));
    const options = { endpoint: '/v1/embeddings' } as const;
    expect(judge({ summary, options, openai: true }).errors).toEqual([
      { line: 2, param: 'custom_id', code: 'missing_custom_id', message: 'Line 2: custom_id is missing' },
    ]);
    expect(judge({ summary, options, openai: false }).errors).toEqual([]);
    // Files that were stored before it was counted are taken as they are.
    const { linesWithoutCustomId: _, ...older } = summary;
    expect(judge({ summary: older, options, openai: true }).errors).toEqual([]);
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
