import { describe, expect, it } from 'vitest';
import { compactJson, elementsOf, memberOf, withoutMembers } from './json-pieces.js';

const text = (bytes: Buffer | null): string | undefined => bytes?.toString();
const BODY = Buffer.from(
  ' { "a" : 1234567890123456789 , "stre\\u0061m" : true,\n"b":[ 1.0 , {"x": "\\" ] }"} ,"é" ], "a": -0 } ',
);

describe('pieces of a JSON text', () => {
  it('are the bytes of the last member of a key', () => {
    expect(text(memberOf(BODY, 'a'))).toBe('-0');
    expect(text(memberOf(BODY, 'stream'))).toBe('true');
    expect(text(memberOf(BODY, 'b'))).toBe('[ 1.0 , {"x": "\\" ] }"} ,"é" ]');
    expect(memberOf(BODY, 'c')).toBeNull();
    expect(memberOf(Buffer.from('[1]'), 'a')).toBeNull();
  });

  it('are what is left without some members', () => {
    expect(text(withoutMembers(BODY, new Set(['stream', 'b'])))).toBe('{"a":1234567890123456789,"a":-0}');
    expect(text(withoutMembers(BODY, new Set(['a', 'b', 'stream'])))).toBe('{}');
    expect(withoutMembers(BODY, new Set(['c']))).toBe(BODY);
  });

  it('are the elements of an array', () => {
    const array = Buffer.from(' [ 1e400, "]", [2,[3]], {"a":[]} ,null ] ');
    expect(elementsOf(array).map(String)).toEqual(['1e400', '"]"', '[2,[3]]', '{"a":[]}', 'null']);
    expect(elementsOf(Buffer.from('[]'))).toEqual([]);
  });

  it('become one line without a change to a token', () => {
    expect(text(compactJson(BODY))).toBe(
      '{"a":1234567890123456789,"stre\\u0061m":true,"b":[1.0,{"x":"\\" ] }"},"é"],"a":-0}',
    );
    const compact = Buffer.from('{"a":" \\\\","b": 1}'.replace(': ', ':'));
    expect(compactJson(compact)).toBe(compact);
  });
});
