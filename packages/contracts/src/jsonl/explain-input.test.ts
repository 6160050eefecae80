import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { JsonlScanner } from './scanner.js';
import type { ScanResult } from './types.js';

const LINE =
  '{"custom_id":"q-1","body":{"model":"m","messages":[{"role":"user","content":"canary-prompt"}]}}';
const BOM = '\ufeff';
const utf16 = (text: string, swap = false): Buffer => {
  const bytes = Buffer.from(text, 'utf16le');
  return swap ? bytes.swap16() : bytes;
};
const pretty = `${JSON.stringify(JSON.parse(LINE), null, 2)}\n`;

function scan(input: string | Uint8Array, chunkBytes = 1_000): ScanResult {
  const bytes = typeof input === 'string' ? new TextEncoder().encode(input) : input;
  const scanner = new JsonlScanner();
  for (let at = 0; at < bytes.length; at += chunkBytes) scanner.push(bytes.subarray(at, at + chunkBytes));
  return scanner.end();
}

describe('a file that is not JSONL is told what it is, once, with the command that mends it', () => {
  it.each<[string, string | Uint8Array, RegExp, RegExp]>([
    ['UTF-16 with a mark', utf16(`${BOM}${LINE}\n${LINE}\n`), /UTF-16 text/, /iconv -f UTF-16 /],
    ['UTF-16 the other way round', utf16(`${BOM}${LINE}\n`, true), /UTF-16 text/, /iconv -f UTF-16 /],
    ['UTF-16LE without a mark', utf16(`${LINE}\n${LINE}\n`), /UTF-16LE text/, /iconv -f UTF-16LE /],
    ['UTF-16BE without a mark', utf16(`${LINE}\n`, true), /UTF-16BE text/, /iconv -f UTF-16BE /],
    ['gzip', gzipSync(`${LINE}\n`), /gzip/, /gunzip -c/],
    ['zstd', zstdCompressSync(`${LINE}\n`), /zstd/, /zstd -dc/],
    ['a ZIP archive', Buffer.from('PK\u0003\u0004\u0014\u0000rest', 'latin1'), /ZIP/, /unzip -p/],
    ['Parquet', Buffer.from('PAR1\u0015\u0004rest', 'latin1'), /Parquet/, /read_parquet/],
    ['a JSON array on one line', `[${LINE},${LINE}]`, /JSON array/, /jq -c '\.\[\]'/],
    ['a JSON array on many lines', `\n[\n  ${LINE},\n  ${LINE}\n]\n`, /JSON array/, /jq -c '\.\[\]'/],
    ['a pretty-printed object', pretty, /several lines/, /jq -c \. /],
    [
      'pretty-printed objects with CRLF and a mark',
      `${BOM}${(pretty + pretty).replaceAll('\n', '\r\n')}`,
      /several lines/,
      /jq -c \. /,
    ],
    ['objects side by side', `${LINE} ${LINE}\n`, /on one line/, /jq -c \. /],
    ['carriage returns alone', `${LINE}\r${LINE}\r`, /carriage returns/, /tr '\\r' '\\n'/],
    ['CSV', 'id,prompt\n1,"canary-prompt, please"\n', /table such as CSV/, /csv\.DictReader/],
    ['tabs', 'id\tprompt\n1\tcanary-prompt\n', /table such as CSV/, /csv\.DictReader/],
    ['HTML', '<!DOCTYPE html>\n<html><body>canary-prompt</body></html>\n', /HTML page/, /curl -fL/],
    [
      'a form',
      `--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n${LINE}\r\n--x--\r\n`,
      /form/,
      /curl -F file=@in\.jsonl/,
    ],
  ])('%s', (_, input, what, remedy) => {
    for (const chunkBytes of [7, 1_000_000]) {
      const { errors, errorCount } = scan(input, chunkBytes);
      expect(errors).toEqual([
        {
          line: expect.any(Number),
          param: null,
          code: 'not_jsonl',
          message: expect.stringMatching(/^The file is not JSONL: it is /),
        },
      ]);
      expect(errorCount).toBe(1);
      expect(errors[0]?.message).toMatch(what);
      expect(errors[0]?.message).toMatch(remedy);
      expect(errors[0]?.message).not.toContain('canary');
    }
  });

  it('but not when its first line is an object', () => {
    const { errors } = scan(`${LINE}\n[1]\n`);
    expect(errors).toMatchObject([{ line: 2, code: 'not_an_object' }]);
  });
});

describe('a line that another program wrote is told what to do about it', () => {
  it.each([
    ['NaN', '{"body":{"temperature":NaN}}', 'no NaN'],
    ['-Infinity', '{"body":{"logit_bias":[-Infinity]}}', 'no Infinity'],
    ["Python's values", '{"body":{"stream":False}}', 'json.dumps'],
    ['single quotes', "{'body':{}}", 'double quotes'],
    ['undefined', '{"body":undefined}', 'undefined'],
    ['a comma behind each object', `${LINE.replace('q-1', 'q-2')},`, 'a comma stands behind the object'],
    ['a byte order mark in the middle', `${BOM}${LINE.replace('q-1', 'q-2')}`, 'byte order mark'],
    ['a request of a message batch', '{"custom_id":"a","params":{}}', 'jq -c'],
    ['a body without its line', '{"model":"m","messages":[{}]}', "jq -c '{body: .}'"],
  ])('%s', (_, line, told) => {
    const { errors } = scan(`${LINE}\n${line}\n`);
    expect(errors).toHaveLength(1);
    expect(errors[0]?.line).toBe(2);
    expect(errors[0]?.message).toContain(told);
  });
});
