import { describe, expect, it } from 'vitest';
import { type JsonBounds, JsonMeter } from './json-measure.js';

const NONE = { depth: 1_000, values: 1_000, members: 1_000, objectMembers: 1_000 };

function measure(text: string, bounds: Partial<JsonBounds>, chunkBytes: number) {
  const bytes = new TextEncoder().encode(text);
  const meter = new JsonMeter({ ...NONE, ...bounds });
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const excess = meter.push(bytes.subarray(at, at + chunkBytes));
    if (excess !== null) return excess;
  }
  return null;
}

describe.each([1, 3, 1_000])('JSON in pieces of %i bytes', (chunkBytes) => {
  it.each<[string, string, Partial<JsonBounds>, string | null]>([
    ['nests too deep', '[[[]]]', { depth: 2 }, 'depth'],
    ['nests as deep as it may', '[[],[{}]]', { depth: 3 }, null],
    ['has too many values', '[1,2,3]', { values: 3 }, 'values'],
    ['has as many values as it may', '[1,2,3]', { values: 4 }, null],
    ['has too many members', '{"a":1,"b":{"c":2}}', { members: 2 }, 'members'],
    [
      'has too many members in one object',
      '{"a":{"b":1},"c":{"d":1},"e":1}',
      { objectMembers: 2 },
      'objectMembers',
    ],
    ['has as many members in one object as it may', '{"a":{"b":1},"c":{"d":1}}', { objectMembers: 2 }, null],
    [
      'has brackets, commas and colons in texts only',
      String.raw`["[[{{,,::\"[[,\\"]`,
      { depth: 1, values: 2, members: 0 },
      null,
    ],
  ])('%s', (_, text, bounds, excess) => {
    expect(measure(text, bounds, chunkBytes)).toBe(excess);
  });
});
