import { describe, expect, it } from 'vitest';
import { countMembers, findRepeatedKey } from './repeated-key.js';

const repeated = (text: string): string | null =>
  findRepeatedKey(text, countMembers(JSON.parse(text), 100) ?? 0);

describe('a key that stands twice in one object', () => {
  it.each([
    ['in the outermost', '{"a":1,"b":2,"a":3}', 'a'],
    ['deep inside', '{"a":[{"b":{"c":1,"c":1}}]}', 'c'],
    ['in another spelling', String.raw`{"a":1,"\u0061":2}`, 'a'],
    ['behind a text that looks like members', String.raw`{"t":"\"a\":1,","a":1,"a" : 2}`, 'a'],
    ['behind backslashes', String.raw`{"t":"\\","u":"\\\"","k":1,"k":2}`, 'k'],
    ['with white space before its colon', '{"k"\n :1,"k"\t:2}', 'k'],
    ['that is empty', '{"":1,"":2}', ''],
    ['that is __proto__', '{"__proto__":1,"__proto__":2}', '__proto__'],
  ])('is found %s', (_, text, key) => {
    expect(repeated(text)).toBe(key);
  });

  it.each([
    ['in two objects', '[{"a":1},{"a":{"a":2}}]'],
    ['as a key and as a text', '{"a":"a","b":["a","a"]}'],
    ['once, in a text that looks like members', String.raw`{"a":"{\"a\":1,\"a\":2}"}`],
    ['as __proto__, once', '{"__proto__":{"a":1},"constructor":2}'],
    ['nowhere', '[1,"a",null,{}]'],
  ])('is not found %s', (_, text) => {
    expect(repeated(text)).toBeNull();
  });

  it('ends its count at the depth', () => {
    const nested: unknown = JSON.parse('[{"a":[{"b":1}]}]');
    expect([countMembers(nested, 4), countMembers(nested, 3)]).toEqual([2, null]);
  });
});
