import { describe, expect, it } from 'vitest';
import { splitLines } from './result-line.js';
import { checkByteIdentical, checkSameSet } from './sameness-checker.js';

const line = (id: string, status = 'succeeded', answer = 'x') => ({ custom_id: id, status, answer });

describe('checkSameSet', () => {
  it('does not care about order', () => {
    checkSameSet(
      [line('a'), line('b', 'failed')],
      [JSON.stringify(line('b', 'failed')), JSON.stringify(line('a'))],
    );
  });

  it.each([
    ['items missing in the second', [line('a'), line('b')], [line('a')], 'first set only: "b"'],
    ['items added in the second', [line('a')], [line('a'), line('b')], 'second set only: "b"'],
    ['items that ended differently', [line('a')], [line('a', 'failed')], 'ended differently: "a"'],
    ['items twice', [line('a'), line('a')], [line('a')], 'more than once in one set: "a"'],
  ])('names %s', (_, first, second, message) => {
    expect(() => checkSameSet(first, second)).toThrow(message);
  });

  it('compares content when asked', () => {
    const answerOf = (value: unknown) => (value as { answer: string }).answer;
    const [first, second] = [[line('a')], [line('a', 'succeeded', 'y')]];
    checkSameSet(first, second);
    expect(() => checkSameSet(first, second, answerOf)).toThrow('ended differently: "a"');
  });
});

describe('checkByteIdentical', () => {
  it('accepts equal bytes, as text or as bytes', () => {
    checkByteIdentical('one\ntwo\n', Buffer.from('one\ntwo\n'));
  });

  it('names the byte and the line of the first difference, and never the text', () => {
    expect(() => checkByteIdentical('one\ntwo\n', 'one\ntXo\n')).toThrow(
      'I11 broken: files differ at byte 5, line 2',
    );
    expect(() => checkByteIdentical('one\n', 'one\ntwo\n')).toThrow('byte 4, line 2 (4 and 8 bytes)');
  });
});

describe('splitLines', () => {
  it('makes no line of the last line feed', () => {
    expect([splitLines('a\nb\n'), splitLines('a\nb'), splitLines('')]).toEqual([['a', 'b'], ['a', 'b'], []]);
  });
});
