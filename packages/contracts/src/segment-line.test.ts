import { describe, expect, it } from 'vitest';
import { itemError } from './failures.js';
import { decodeSegment, encodeSegmentLine, type SegmentHeader, toSingleLine } from './segment-line.js';

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (value: string) => new TextEncoder().encode(value);

const header: SegmentHeader = {
  i: 3,
  c: 'tab\there',
  ok: true,
  st: 200,
  a: 1,
  ms: 12,
  r: 'req_1',
  u: [5, 0, 7, 0],
};

describe('segment lines', () => {
  it('come back as they went in, body bytes untouched', () => {
    const failed: SegmentHeader = {
      i: 4,
      c: 'é',
      ok: false,
      st: 0,
      a: 3,
      ms: 1,
      r: 'req_2',
      e: itemError('item_timeout'),
    };
    const segment = new Uint8Array([
      ...encodeSegmentLine(header, bytes('{"a":"ü"}')),
      ...encodeSegmentLine(failed, bytes('')),
    ]);
    const lines = [...decodeSegment(segment)];
    expect(lines.map((line) => line.header)).toEqual([header, failed]);
    expect(lines.map((line) => text(line.body))).toEqual(['{"a":"ü"}', '']);
  });

  it('refuse a segment whose line has no header', () => {
    expect(() => [...decodeSegment(bytes('{"i":1}\n'))]).toThrow(SyntaxError);
  });

  it('make an engine answer one line without changing what it says', () => {
    const body = '{\n  "text": "a\u2028b\u2029c\u0085d",\r\n\t"n": 1\n}\n';
    const line = toSingleLine(body);
    expect(line).not.toMatch(/[\n\r\t\u2028\u2029\u0085]/);
    expect(JSON.parse(line)).toEqual(JSON.parse(body));
  });
});
