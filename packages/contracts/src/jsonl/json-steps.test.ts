import { describe, expect, it } from 'vitest';
import { parseJsonSteps } from './json-steps.js';
import { countMembers } from './repeated-key.js';
import { allSteps } from './steps.js';

const encoder = new TextEncoder();
const parse = (text: string, stepBytes: number) => allSteps(parseJsonSteps(encoder.encode(text), stepBytes));
/** Pieces of every size, from one that cuts everything to one that cuts nothing. */
const STEPS = [1, 2, 3, 5, 8, 13, 40, 1_000];

const GOOD = [
  'null',
  ' -1.5e3 ',
  '""',
  '[]',
  '{}',
  '[ \n ]',
  '{ \t }',
  '[[],{},""]',
  '[1,2,[3,4,[5,6]],7]',
  '{"a":1,"b":{"c":[1,2,3],"d":"text"},"e":null}',
  '{"__proto__":{"x":1},"constructor":[1,2,3,4,5]}',
  '{"__proto__":1}',
  '{"2":"two","1":"one","a key that is long":"a value that is long"}',
  String.raw`["\u00e9\ud83d\ude00\\\\\"\\","\\u0041\n\t\/","é😀漢字\\é"]`,
  String.raw`{"\u0061\"b":"\\\\\\\\\\","\\":"\\\""}`,
  ' [ "a" , { "b" : [ 1 , 2 ] , "c" : "]},{[\\"" } , [ ] , { } ] ',
];

const BAD = [
  '',
  ' ',
  '1 2',
  '1,2',
  '[1,]',
  '[,1]',
  '[1,,2]',
  '[ , ]',
  ',',
  '{"a":1,}',
  '{,}',
  '{"a"}',
  '{"a":}',
  '{"a" "b"}',
  '{"a":1 "b":2}',
  '{"a":[1,2,3] "b":2}',
  '{1:"one text"}',
  '{[1,2,3]:1}',
  '{"a":"b":"c"}',
  '{"a","b":1}',
  '["a":"b"]',
  '["a""b"]',
  '[[1,2,3][4,5,6]]',
  '[[1,2,3}]',
  '[{"a":1]]',
  '{"a":[1}}',
  '[1],[2]',
  '[1]]',
  ']1[',
  '["a',
  '[1',
  '{"a":"\u0001"}',
  String.raw`["\x"]`,
  String.raw`["\u12"]`,
  String.raw`["\u12 34\\"]`,
  '[tru,e]',
  '[1 "text" ]',
  '\ufeff[1]',
];

describe('JSON in short steps', () => {
  it.each(GOOD)('reads %s as JSON.parse does, wherever it is cut', (text) => {
    const value: unknown = JSON.parse(text);
    for (const stepBytes of STEPS) {
      expect(parse(text, stepBytes)).toEqual({ value, members: countMembers(value, 200) });
      expect(JSON.stringify(parse(text, stepBytes).value)).toBe(JSON.stringify(value));
    }
  });

  it.each(BAD)('refuses %s as JSON.parse does, wherever it is cut', (text) => {
    expect(() => JSON.parse(text)).toThrow();
    for (const stepBytes of STEPS) expect(() => parse(text, stepBytes), String(stepBytes)).toThrow();
  });

  it('counts a key that stands twice once, also in different pieces', () => {
    const text = '{"a":[1,2,{"x":1}],"b":"some text","a":"another text"}';
    for (const stepBytes of STEPS) expect(parse(text, stepBytes).members).toBeLessThan(4);
  });

  it('makes of damaged texts what JSON.parse makes of them', () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    const characters = '{}[]",:\\ 1u';
    for (let round = 0; round < 4_000; round += 1) {
      const good = GOOD[random(GOOD.length)] ?? '';
      const at = random(good.length + 1);
      const damage = characters[random(characters.length)] ?? '';
      // A half of a character is none in UTF-8.
      const text = Buffer.from(good.slice(0, at) + damage + good.slice(at + random(2))).toString();
      const expected = outcome(() => JSON.parse(text));
      const found = outcome(() => parse(text, STEPS[random(STEPS.length)] ?? 1).value);
      expect(found, JSON.stringify(text)).toBe(expected);
    }
  });

  it('refuses what is not UTF-8, wherever it is cut', () => {
    const bytes = Uint8Array.from([0x5b, 0x22, 0xc3, 0xa9, 0xe2, 0x82, 0x22, 0x5d]);
    for (const stepBytes of STEPS) expect(() => allSteps(parseJsonSteps(bytes, stepBytes))).toThrow();
  });

  it('looks at little between two steps', () => {
    const item = `{"role":"user","content":"${'é\\n'.repeat(50)}"}`;
    const texts = [
      `"${'x'.repeat(2_000_000)}"`,
      `[${Array(10_000).fill(item).join(',')}]`,
      `{"a":{"b":[${Array(10_000).fill('1234567').join(',')}]}}`,
    ];
    for (const text of texts) {
      const bytes = encoder.encode(text);
      let steps = 0;
      for (const _ of parseJsonSteps(bytes, 10_000)) steps += 1;
      expect(steps).toBeGreaterThan(bytes.length / 10_000);
    }
  });
});

function outcome(read: () => unknown): string {
  try {
    return JSON.stringify(read());
  } catch {
    return 'refused';
  }
}
