import { describe, expect, it } from 'vitest';
import { ArrayCutter } from './array-cutter.js';

interface Cut {
  readonly elements: (string | null)[];
  readonly otherKeys: string[];
  readonly notArrays: number;
  readonly found: boolean;
}

function cut(text: string, chunkBytes = 1, maxElementBytes = 1_000): Cut {
  const elements: (string | null)[] = [];
  const otherKeys: string[] = [];
  let notArrays = 0;
  const cutter = new ArrayCutter({
    key: 'requests',
    maxElementBytes,
    handlers: {
      element: (index, bytes) => {
        expect(index).toBe(elements.length);
        elements.push(bytes?.toString('utf8') ?? null);
      },
      otherKey: (key) => otherKeys.push(key),
      notAnArray: () => {
        notArrays += 1;
      },
    },
  });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const chunk = Buffer.from(bytes.subarray(at, at + chunkBytes));
    cutter.push(chunk);
    // The memory of a chunk may be used again.
    chunk.fill(0x5f);
  }
  cutter.end();
  expect(cutter.elements).toBe(elements.length);
  return { elements, otherKeys, notArrays, found: cutter.found };
}

describe('the array cutter', () => {
  it.each([
    ['objects', '{"requests":[{"a":1},{"b":[2,{"c":"]}"}]}]}', ['{"a":1}', '{"b":[2,{"c":"]}"}]}']],
    [
      'values of every kind',
      '{"requests":[1,"x",null,true,[],-2.5e3]}',
      ['1', '"x"', 'null', 'true', '[]', '-2.5e3'],
    ],
    [
      'white space wherever it may stand',
      ' \n{ "requests" :\t[ {"a" :\n1} ,\r\n2 ] } \n',
      ['{"a" :\n1}', '2'],
    ],
    [
      'quotes and backslashes in strings',
      '{"requests":["\\"]},","\\\\",{"\\u0022":"[\\\\\\""}]}',
      ['"\\"]},"', '"\\\\"', '{"\\u0022":"[\\\\\\""}'],
    ],
    ['text beyond ASCII', '{"requests":["\u{1f600}é\u2028"]}', ['"\u{1f600}é\u2028"']],
    ['a byte order mark', '\ufeff{"requests":[1]}', ['1']],
    ['an escaped key', '{"\\u0072equests":[1]}', ['1']],
    ['nothing', '{"requests":[]}', []],
  ])('finds %s, however the bytes are cut', (_, text, elements) => {
    for (const chunkBytes of [1, 2, 3, 5, 7, 1_000]) {
      expect(cut(text, chunkBytes)).toEqual({ elements, otherKeys: [], notArrays: 0, found: true });
    }
  });

  it('walks over members that nobody asked for', () => {
    const text = '{"a":{"requests":[9]},"requests":[1],"b":"[","requests":[2],"c":3}';
    expect(cut(text)).toEqual({
      elements: ['1'],
      otherKeys: ['a', 'b', 'requests', 'c'],
      notArrays: 0,
      found: true,
    });
  });

  it('knows an object without the array, and one where it is no array', () => {
    expect(cut('{}')).toMatchObject({ found: false });
    expect(cut('{"requests":{"0":1}}')).toMatchObject({ found: true, notArrays: 1, elements: [] });
    expect(cut('{"requests":null}')).toMatchObject({ found: true, notArrays: 1 });
  });

  it('lets an element that is too long go by, and goes on behind it', () => {
    const text = `{"requests":["${'x'.repeat(50)}","ok",["${'y'.repeat(50)}"]]}`;
    for (const chunkBytes of [1, 9, 1_000])
      expect(cut(text, chunkBytes, 20).elements).toEqual([null, '"ok"', null]);
  });

  it.each([
    ['', 'it is empty', 0],
    ['[', "expected '{'", 0],
    ['{"requests":[1', 'ends inside a value', 14],
    ['{"requests":[1]', "it ends too early, expected ',' or '}'", 15],
    ['{"requests":[1]}x', 'there is more after the end of the JSON value', 16],
    ['{"requests":[1 2]}', "expected ',' or ']'", 15],
    ['{"requests":[1,]}', 'expected a value', 15],
    ['{"requests":[,1]}', "expected a value or ']'", 13],
    ['{"requests"}', "expected ':' after a property name", 11],
    ['{"requests":}', 'expected a value', 12],
    ['{requests:[]}', "expected a property name in double quotes or '}'", 1],
    ['{"a":1,}', 'expected a property name in double quotes', 7],
    ['{"requests":["a\nb"]}', 'a string holds a control character that is not escaped', 15],
    ['{"requests":["a', 'ends inside a value', 15],
    ['{"a\\x":1}', 'a property name is broken', 6],
  ])('says where %j breaks', (text, reason, offset) => {
    for (const chunkBytes of [1, 4, 1_000]) {
      expect(() => cut(text, chunkBytes)).toThrow(expect.objectContaining({ message: reason, offset }));
    }
  });

  it('keeps no more than one element, whatever the size of the body', () => {
    let seen = 0;
    const cutter = new ArrayCutter({
      key: 'requests',
      maxElementBytes: 1_000_000,
      handlers: { element: () => (seen += 1), otherKey: () => undefined, notAnArray: () => undefined },
    });
    cutter.push(Buffer.from('{"requests":[0'));
    const chunk = Buffer.from(`,{"text":"${'x'.repeat(1_000)}"}`.repeat(100));
    const before = process.memoryUsage();
    for (let turn = 0; turn < 500; turn += 1) cutter.push(Buffer.from(chunk));
    cutter.push(Buffer.from(']}'));
    cutter.end();
    const after = process.memoryUsage();
    expect(seen).toBe(50_001);
    // 50 MB went by. Chunks that have not been collected yet count here, so that the bound is wide.
    expect(after.heapUsed - before.heapUsed).toBeLessThan(30_000_000);
  });
});
