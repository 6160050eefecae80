import { expect, test } from 'vitest';
import { LineSplitter } from './line-splitter.js';

function split(text: string | Buffer, chunkBytes: number): string[] {
  const bytes = Buffer.from(text);
  const splitter = new LineSplitter();
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    for (const line of splitter.push(bytes.subarray(at, at + chunkBytes))) lines.push(line.toString());
  }
  const last = splitter.end();
  if (last !== null) lines.push(last.toString());
  return lines;
}

test.each([1, 2, 3, 7, 1_000])(
  'in chunks of %i bytes: CRLF, blank lines and a missing last line feed',
  (chunkBytes) => {
    expect(split('a\r\n\n  \t\r\nbé\n\r\nc', chunkBytes)).toEqual(['a', 'bé', 'c']);
  },
);

test.each([1, 2, 100])(
  'in chunks of %i bytes: a byte order mark at the start is dropped, elsewhere it is kept',
  (chunkBytes) => {
    expect(split('\ufeffa\n\ufeffb\n', chunkBytes)).toEqual(['a', '\ufeffb']);
  },
);

test('nothing gives nothing', () => {
  expect(split('', 1)).toEqual([]);
  expect(split('\n\n', 1)).toEqual([]);
});
