import { describe, expect, it } from 'vitest';
import { exactNumber, isExactNumber, parseExactJson } from './exact-json.js';

const again = (text: string): string => JSON.stringify(parseExactJson(text));

describe('JSON that is written again', () => {
  it.each([
    ...['0', '-0', '0.0', '1', '1.0', '-1.50', '0.1', '1e5', '1E5', '1e+5', '1e400', '-1e400', '5e-324'],
    ...['9007199254740993', '1234567890123456789', '-1234567890123456789', '0.1234567890123456789'],
    ...['123456789012345678901234567890', '1e21', '100000000000000000000000'],
  ])('keeps the number %s', (number) => {
    for (const text of [number, `[${number}]`, `{"a":{"b":[${number},${number}]}}`])
      expect(again(text)).toBe(text);
  });

  it('keeps everything else', () => {
    const text =
      '{"__proto__":{"a":1},"rawJSON":"1","s":"\\ud800 é \\u0001","e":"","n":null,"t":[true,false]}';
    expect(again(text)).toBe(text);
    expect(JSON.stringify({ ...Object(parseExactJson(text)) })).toBe(text);
  });

  it('is read by its numbers', () => {
    expect(
      ['7', '7.0', '-0', '9007199254740993', '1e400', '"7"', '{"rawJSON":"7"}', 'null'].map(readAs),
    ).toEqual([7, 7, -0, 9007199254740992, null, null, null, null]);
    expect(isExactNumber(parseExactJson('1.0'))).toBe(true);
    expect(isExactNumber(parseExactJson('{"rawJSON":"1.0"}'))).toBe(false);
  });
});

const readAs = (text: string): number | null => exactNumber(parseExactJson(text));
