import { describe, expect, it } from 'vitest';
import { rawMembers } from './json-members.js';

describe('the members of a JSON object', () => {
  it('are as they stand in the text', () => {
    const text = String.raw`{ "a" : 1234567890123456789 ,"b":{"x": [1.0, "}\\\"]", {}]},"c\u0022":"\u2028","d":null,"e":-0,"f":[],"g":true}`;
    expect([...rawMembers(text)]).toEqual([
      ['a', '1234567890123456789'],
      ['b', String.raw`{"x": [1.0, "}\\\"]", {}]}`],
      ['c"', String.raw`"\u2028"`],
      ['d', 'null'],
      ['e', '-0'],
      ['f', '[]'],
      ['g', 'true'],
    ]);
    expect([...rawMembers(' {}\n')]).toEqual([]);
  });

  it.each(['', '[]', '1', '{', '{"a"}', '{"a":}', '{"a":1', '{"a":"x}', '{"a":[1}', '{"a":1 "b":2}'])(
    'are none of %j',
    (text) => {
      expect(() => rawMembers(text)).toThrow(SyntaxError);
    },
  );
});
