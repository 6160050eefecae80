import { describe, expect, it } from 'vitest';
import { BrokenInvariant } from './broken-invariant.js';
import { checkInputOrder, checkOutcome, checkResults } from './outcome-checker.js';

const ok = (id: string) => ({
  id: 'r',
  custom_id: id,
  response: { status_code: 200, request_id: 'q', body: {} },
  error: null,
});
const refused = (id: string) => ({
  id: 'r',
  custom_id: id,
  response: { status_code: 400, request_id: 'q', body: { error: { code: 'context_length_exceeded' } } },
  error: null,
});
const ended = (id: string, code: string) => ({
  id: 'r',
  custom_id: id,
  response: null,
  error: { code, message: 'm' },
});

describe('checkOutcome', () => {
  it('counts how items ended, from parsed lines and from text', () => {
    const counts = checkOutcome({
      inputCustomIds: ['a', 'b', 'c', 'd', 'e'],
      outputLines: [JSON.stringify(ok('a'))],
      errorLines: [
        refused('b'),
        ended('c', 'batch_cancelled'),
        ended('d', 'batch_expired'),
        ended('e', 'engine_error'),
      ],
    });
    expect(counts).toEqual({ total: 5, succeeded: 1, failed: 2, cancelled: 1, expired: 1 });
  });

  it.each([
    [
      'an item without a record',
      ['a', 'b'],
      [ok('a')],
      [],
      'I2 broken: items without a terminal record: "b"',
    ],
    ['an item twice in the output', ['a'], [ok('a'), ok('a')], [], 'more than one terminal record: "a"'],
    ['an item in both files', ['a'], [ok('a')], [refused('a')], 'more than one terminal record: "a"'],
    ['an item nobody sent', ['a'], [ok('a'), ok('z')], [], 'never accepted: "z"'],
    ['a failure in the output file', ['a'], [refused('a')], [], 'failed items in the output file: "a"'],
    ['a success in the error file', ['a'], [], [ok('a')], 'succeeded items in the error file: "a"'],
    ['input ids that are not unique', ['a', 'a'], [ok('a')], [], 'not unique: "a"'],
    ['a line that is not JSON', ['a'], ['{'], [], 'not JSON'],
    ['a line without an end', ['a'], [{ custom_id: 'a', response: null, error: null }], [], 'neither'],
    ['a line without an id', ['a'], [{}], [], 'custom_id'],
  ])('names %s', (_, inputCustomIds, outputLines, errorLines, message) => {
    expect(() => checkOutcome({ inputCustomIds, outputLines, errorLines })).toThrow(message);
    expect(() => checkOutcome({ inputCustomIds, outputLines, errorLines })).toThrow(BrokenInvariant);
  });

  it('compares the stated counts with the lines', () => {
    const counts = { total: 1, succeeded: 0, failed: 1, cancelled: 0, expired: 0 };
    const input = { inputCustomIds: ['a'], outputLines: [ok('a')], errorLines: [], counts };
    expect(() => checkOutcome(input)).toThrow('counts.succeeded is 0, the lines say 1');
  });

  it('names at most ten items', () => {
    const inputCustomIds = Array.from({ length: 25 }, (_, index) => `q-${index}`);
    const check = () => checkOutcome({ inputCustomIds, outputLines: [], errorLines: [] });
    expect(check).toThrow(/"q-9" and 15 more$/);
  });
});

describe('checkResults', () => {
  it('reads native and Anthropic lines', () => {
    const native = [
      { index: 0, custom_id: 'a', status: 'succeeded' },
      { index: 1, custom_id: 'b', status: 'failed', error: { code: 'engine_error' } },
    ];
    expect(checkResults({ inputCustomIds: ['a', 'b'], resultLines: native })).toMatchObject({
      succeeded: 1,
      failed: 1,
    });
    const anthropic = [
      { custom_id: 'a', result: { type: 'canceled' } },
      { custom_id: 'b', result: { type: 'errored', error: { type: 'error', error: { type: 'api_error' } } } },
    ];
    expect(checkResults({ inputCustomIds: ['a', 'b'], resultLines: anthropic })).toMatchObject({
      cancelled: 1,
      failed: 1,
    });
  });

  it('refuses an end that it does not know', () => {
    const resultLines = [{ custom_id: 'a', status: 'lost' }];
    expect(() => checkResults({ inputCustomIds: ['a'], resultLines })).toThrow('unknown end: "a"');
  });
});

describe('checkInputOrder', () => {
  it('accepts gaps and names the first line out of order', () => {
    checkInputOrder(['a', 'b', 'c'], [ok('a'), ok('c')]);
    expect(() => checkInputOrder(['a', 'b', 'c'], [ok('b'), ok('a')])).toThrow('not in input order: "a"');
  });
});
