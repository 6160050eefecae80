import { describe, expect, it } from 'vitest';
import { LIMITS } from '../limits.js';
import { IdTable } from './id-table.js';
import { findJsonFault } from './json-text.js';
import { JsonlScanner } from './scanner.js';
import type { ScanOptions, ScanResult } from './types.js';

const encoder = new TextEncoder();
const bytesOf = (input: string | Uint8Array): Uint8Array =>
  typeof input === 'string' ? encoder.encode(input) : input;

function scan(input: string | Uint8Array, options: ScanOptions = {}, chunkBytes = 7): ScanResult {
  const bytes = bytesOf(input);
  const scanner = new JsonlScanner(options);
  for (let at = 0; at < bytes.length; at += chunkBytes) scanner.push(bytes.slice(at, at + chunkBytes));
  return scanner.end();
}

const chat = (custom_id: string, more: Record<string, unknown> = {}, body: Record<string, unknown> = {}) =>
  JSON.stringify({
    custom_id,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'm', messages: [{ role: 'user', content: 'canary-prompt' }], ...body },
    ...more,
  });
const file = (...lines: string[]) => lines.map((line) => `${line}\n`).join('');
const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;

describe('an input that is fine', () => {
  const lines = [chat('a'), chat('b'), chat('c')];
  it.each([
    ['plain', file(...lines)],
    ['without the last line break', lines.join('\n')],
    ['with CRLF', lines.map((line) => `${line}\r\n`).join('')],
    ['with a BOM', `\ufeff${file(...lines)}`],
    ['with blank lines', `\n \t\n${lines[0]}\n\r\n${lines[1]}\n\n\n${lines[2]}\n\n`],
    ['with keys nobody knows', file(chat('a', { note: 1, __proto__x: 2 }), chat('b'), chat('c'))],
  ])('is accepted %s', (_, input) => {
    const result = scan(input);
    expect(result.errors).toEqual([]);
    expect(result.summary.items).toBe(3);
    expect(result.summary.bytes).toBe(bytesOf(input).length);
    expect(result.summary.models).toEqual({ m: 3 });
  });

  it('may have lines in the short form, known by their index', () => {
    const input = file(
      '{"body":{"model":"m","messages":[{}]}}',
      '{"body":{"messages":[{}]},"custom_id":"x"}',
    );
    const loose = scan(input);
    expect(loose.errors).toEqual([]);
    expect(loose.summary.linesWithoutUrl).toEqual({ count: 2, lines: [1, 2] });
    expect(loose.summary.linesWithoutModel).toEqual({ count: 1, lines: [2] });
    expect(
      scan(input, { endpoint: '/v1/chat/completions', model: 'm', requireComplete: true }).errors,
    ).toEqual([]);
  });

  it('may have null for what may be left out', () => {
    const line =
      '{"custom_id":null,"method":null,"url":null,"body":{"model":null,"messages":[{}],"stream":null}}';
    const defaults = { endpoint: '/v1/chat/completions', model: 'm', requireComplete: true };
    const { errors, summary } = scan(file(line), defaults);
    expect(errors).toEqual([]);
    expect(summary.linesWithoutModel.count).toBe(1);
    expect(scan(file(line), { endpoint: defaults.endpoint, requireComplete: true }).errors).toMatchObject([
      { code: 'missing_model' },
    ]);
  });

  it('gives the same answer however it is cut into chunks', () => {
    const input = `\ufeff${file(chat('ä'), 'nonsense', chat('é€😀'), '', chat('b'))}`;
    const whole = scan(input, {}, 1 << 20);
    for (const size of [1, 2, 3, 5, 64, 300]) expect(scan(input, {}, size)).toEqual(whole);
    expect(whole.errors.map(({ line }) => line)).toEqual([2]);
  });

  it('keeps a model named __proto__ apart as only a name', () => {
    const { models } = scan(file(chat('a', {}, { model: '__proto__' }))).summary;
    expect(Object.entries(models)).toEqual([['__proto__', 1]]);
  });
});

describe('a bad line is named with its field and limit', () => {
  const long = 'x'.repeat(LIMITS.customIdChars + 1);
  const cases: [string, string, string, string | null][] = [
    ['text', 'nonsense', 'invalid_json', null],
    ['half a line', '{"custom_id":"x","body":{', 'invalid_json', null],
    ['a NUL byte', '{"custom_id":"x\u0000"}', 'invalid_json', null],
    ['an array', '[]', 'not_an_object', null],
    ['a string', '"x"', 'not_an_object', null],
    ['null', 'null', 'not_an_object', null],
    ['deep nesting', chat('x', { extra: JSON.parse(deep(200)) as unknown }), 'too_deep', null],
    ['very deep nesting', `{"custom_id":"x","body":${deep(40_000)}}`, 'too_deep', null],
    ['no body', '{"custom_id":"x","url":"/v1/embeddings"}', 'missing_body', 'body'],
    ['a body that is text', '{"custom_id":"x","body":"y"}', 'invalid_body', 'body'],
    ['a body that is an array', '{"custom_id":"x","body":[]}', 'invalid_body', 'body'],
    ['a numeric custom_id', '{"custom_id":7,"body":{}}', 'invalid_custom_id', 'custom_id'],
    ['an empty custom_id', '{"custom_id":"","body":{}}', 'invalid_custom_id', 'custom_id'],
    ['a long custom_id', chat(long), 'invalid_custom_id', 'custom_id'],
    ['a control character in custom_id', chat('a\u0000b'), 'invalid_custom_id', 'custom_id'],
    ['a duplicate custom_id', chat('first'), 'duplicate_custom_id', 'custom_id'],
    ['another method', chat('x', { method: 'GET' }), 'invalid_method', 'method'],
    ['a nonsense url', chat('x', { url: '/v1/nonsense' }), 'invalid_url', 'url'],
    ['a url that is no text', chat('x', { url: 7 }), 'invalid_url', 'url'],
    ['a number as model', chat('x', {}, { model: 7 }), 'invalid_model', 'body.model'],
    ['an empty model', chat('x', {}, { model: '' }), 'invalid_model', 'body.model'],
    ['stream: true', chat('x', {}, { stream: true }), 'stream_not_supported', 'body.stream'],
    ['no messages', chat('x', {}, { messages: undefined }), 'missing_parameter', 'body.messages'],
    ['empty messages', chat('x', {}, { messages: [] }), 'missing_parameter', 'body.messages'],
    ['messages that are text', chat('x', {}, { messages: 'hi' }), 'invalid_parameter', 'body.messages'],
    ['no prompt', chat('x', { url: '/v1/completions' }), 'missing_parameter', 'body.prompt'],
    ['a key twice', '{"custom_id":"x","body":{"a":{"k":1},"k":2,"b":[{"k":1,"k":2}]}}', 'repeated_key', 'k'],
    [
      'a key twice, once escaped',
      String.raw`{"custom_id":"x","body":{"k":1,"\u006b":2}}`,
      'repeated_key',
      'k',
    ],
    [
      'too many values',
      `{"custom_id":"x","body":[${'0,'.repeat(LIMITS.jsonValues)}0]}`,
      'too_many_values',
      null,
    ],
    ['a list of messages instead of a body', '{"messages":[]}', 'missing_body', 'body'],
    ['null messages', chat('x', {}, { messages: null }), 'missing_parameter', 'body.messages'],
    ['no input', chat('x', { url: '/v1/embeddings' }), 'missing_parameter', 'body.input'],
  ];
  it.each(cases)('%s', (_, line, code, param) => {
    const { errors, errorCount } = scan(file(chat('first'), '', line, chat('last')));
    expect(errorCount).toBe(1);
    expect(errors).toEqual([{ line: 3, param, code, message: expect.stringMatching(/^Line 3[: ]/) }]);
    expect(errors[0]?.message).not.toContain('canary-prompt');
  });

  it('names the first line of a duplicate', () => {
    const { errors } = scan(file(chat('a'), chat('b'), chat('a')));
    expect(errors[0]?.message).toBe('Line 3 custom_id "a" is already the custom_id of line 1');
  });

  it('does not let an index collide with an id', () => {
    const { errors } = scan(file(chat('1'), '{"body":{}}'));
    expect(errors.map(({ line, code }) => [line, code])).toEqual([[2, 'duplicate_custom_id']]);
  });

  it('invalid UTF-8', () => {
    const bad = encoder.encode(file(chat('a'), chat('XY'), chat('c')));
    bad[bad.indexOf(0x58)] = 0xc3;
    bad[bad.indexOf(0x59)] = 0x28;
    expect(scan(bad).errors).toEqual([
      { line: 2, param: null, code: 'invalid_utf8', message: 'Line 2 is not valid UTF-8' },
    ]);
  });

  it('a line over the limit, and goes on behind it', () => {
    const input = file(chat('a'), chat('b', {}, { padding: 'x'.repeat(5_000) }), chat('c'), 'nonsense');
    const { errors, summary } = scan(input, { maxLineBytes: 1_000 });
    expect(errors.map(({ line, code }) => [line, code])).toEqual([
      [2, 'line_too_long'],
      [4, 'invalid_json'],
    ]);
    expect(errors[0]?.message).toContain('1000');
    expect(summary.bytes).toBe(input.length);
  });

  it('a line of exactly the limit is fine, with LF and with CRLF', () => {
    const line = chat('a');
    for (const end of ['', '\n', '\r\n']) {
      expect(scan(`${line}${end}`, { maxLineBytes: line.length }).errors).toEqual([]);
      expect(scan(`${line}${end}`, { maxLineBytes: line.length - 1 }).errors).toHaveLength(1);
    }
  });

  it('more requests than allowed: reported once', () => {
    const { errors, errorCount } = scan(file(chat('a'), chat('b'), chat('c'), 'nonsense'), { maxItems: 2 });
    expect(errorCount).toBe(1);
    expect(errors[0]).toMatchObject({
      line: 3,
      code: 'too_many_items',
      message: expect.stringContaining('limit of one file is 2'),
    });
  });

  it.each(['', '\n\n', '\ufeff', ' \r\n'])('an input without requests: %j', (input) => {
    expect(scan(input).errors).toMatchObject([{ line: null, code: 'empty_file' }]);
  });

  it('counts all errors and reports the first 100 in order', () => {
    const { errors, errorCount } = scan(file(...Array.from({ length: 250 }, () => 'x')), {}, 1_000);
    expect(errorCount).toBe(250);
    expect(errors.map(({ line }) => line)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  it('what only complete options can judge', () => {
    const codes = (options: ScanOptions) => scan(file('{"body":{}}'), options).errors.map(({ code }) => code);
    expect(codes({ requireComplete: true, model: 'm' })).toEqual(['missing_url']);
    expect(codes({ requireComplete: true, endpoint: '/v1/responses' })).toEqual(['missing_model']);
    expect(codes({ endpoint: '/v1/embeddings', defaults: { input: 'x' } })).toEqual([]);
  });
});

describe('shard boundaries', () => {
  it('are cut at 256 items, never between models of one shard, and cover whole lines', () => {
    const lines = Array.from({ length: 700 }, (_, index) =>
      chat(`id-${index}`, {}, { model: index < 300 ? 'm' : 'n' }),
    );
    const input = bytesOf(file(...lines));
    const { shards } = scan(input, {}, 4_096).summary;
    expect(shards.map(({ first, count, model }) => [first, count, model])).toEqual([
      [0, 256, 'm'],
      [256, 44, 'm'],
      [300, 256, 'n'],
      [556, 144, 'n'],
    ]);
    for (const { first, count, offset, bytes } of shards) {
      const text = new TextDecoder().decode(input.subarray(offset, offset + bytes));
      expect(text).toBe(file(...lines.slice(first, first + count)));
    }
  });

  it('are cut at 8 MiB', () => {
    const big = (id: string) => chat(id, {}, { padding: 'x'.repeat(3 * 1024 * 1024) });
    const { shards } = scan(file(big('a'), big('b'), big('c'), big('d')), {}, 1 << 20).summary;
    expect(shards.map(({ count }) => count)).toEqual([2, 2]);
  });

  it('leave out the BOM and take the default model for lines without', () => {
    const { shards } = scan(`\ufeff${file('{"body":{}}', '{"body":{"model":"m"}}')}`, { model: 'm' }).summary;
    expect(shards).toMatchObject([{ first: 0, count: 2, offset: 3, model: 'm' }]);
  });
});

describe('fuzzed input', () => {
  let state = 42;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
  const snippets = [
    ...['{', '[', '"', '\n', '\r\n', '\\u00', '\\ud800', '\0', '\u2028', '\ufeff', '\n\n', '{}\n'],
    ...[
      '"__proto__":{"a":1},',
      '"constructor":1,',
      '"custom_id":"a",',
      '"custom_id":"__proto__",',
      '1e999',
      '-0',
    ],
    ...[deep(LIMITS.lineDepth + 1), 'x'.repeat(3_000)],
  ];
  const settings: readonly ScanOptions[] = [
    {},
    { maxLineBytes: 256 },
    { maxItems: 2 },
    { requireComplete: true, endpoint: '/v1/chat/completions', model: 'm', mediaHosts: [] },
    { requireComplete: true, endpoint: '/v1/responses', defaults: { input: 'x' } },
  ];

  function mutated(good: Uint8Array): Uint8Array {
    const bytes = Array.from(good);
    for (let edits = random(6); edits >= 0; edits -= 1) {
      const at = random(bytes.length);
      const kind = random(4);
      if (kind === 0) bytes[at] = random(256);
      else if (kind === 1) bytes.splice(at, random(40));
      else if (kind === 2) bytes.splice(at, 0, ...encoder.encode(snippets[random(snippets.length)] ?? ''));
      else bytes.splice(at, 0, ...bytes.slice(at, at + random(200)));
    }
    return Uint8Array.from(bytes);
  }

  function check(input: Uint8Array, { errors, errorCount, summary }: ScanResult): void {
    const lineCount = new TextDecoder().decode(input).split('\n').length;
    expect(summary.bytes).toBe(input.length);
    expect(errors).toHaveLength(errorCount);
    for (const { line, code, message } of errors) {
      if (code !== 'empty_file') expect(line).toBeGreaterThan(0);
      expect(line ?? 0).toBeLessThanOrEqual(lineCount);
      expect(message).not.toContain('canary-prompt');
    }
    const covered = summary.shards.reduce((sum, { count }) => sum + count, 0);
    if (errorCount > 0) return;
    expect(covered).toBe(summary.items);
    const lines = new TextDecoder('utf-8', { fatal: true }).decode(input).split('\n');
    expect(lines.filter((line) => line.trim() !== '').map((line) => typeof JSON.parse(line))).toEqual(
      Array.from({ length: summary.items }, () => 'object'),
    );
  }

  // 100,000 before a release.
  const cases = Number(process.env.PROOF_FUZZ_CASES ?? 4_000);
  it(`S1: ${cases} inputs never crash it, every error has its line and quotes no prompt`, () => {
    const text = file(chat('a'), chat('b'), '', chat('c'));
    const nested = chat('d', {}, { value: JSON.parse(deep(LIMITS.lineDepth)) });
    const good = [
      text,
      text.trimEnd(),
      `\ufeff${text}`.replaceAll('\n', '\r\n'),
      file(nested, chat('a')),
    ].map((input) => encoder.encode(input));
    const seen = new Set<string>();
    for (let round = 0; round < cases; round += 1) {
      const input = mutated(good[round % good.length] ?? new Uint8Array());
      const result = scan(input, settings[random(settings.length)], 1 + random(100));
      check(input, result);
      for (const { code } of result.errors) seen.add(code);
    }
    expect([...seen]).toEqual(
      expect.arrayContaining(['invalid_json', 'duplicate_custom_id', 'line_too_long', 'too_deep']),
    );
    expect(Object.keys(Object.prototype)).toEqual([]);
  }, 600_000);
});

describe('findJsonFault', () => {
  it.each([
    ['{"a":1,}', 8, 'property name'],
    ['{"a" 1}', 6, "':'"],
    ['[1 2]', 4, "','"],
    ['{"a":tru}', 6, 'value'],
    ['{"a":"x', 8, 'closing quote'],
    ['{"a":"\\q"}', 8, 'escape'],
    ['{"a":[1,2', 10, "closing ']'"],
    ['{} {}', 4, 'after the end'],
    ['01', 2, 'after the end'],
    ["{'a':1}", 2, 'double quotes'],
  ])('%s', (text, column, reason) => {
    expect(() => JSON.parse(text)).toThrow();
    expect(findJsonFault(text)).toEqual({ column, reason: expect.stringContaining(reason) });
  });
});

describe('IdTable', () => {
  it('tells 100,000 ids apart and finds each again', () => {
    const table = new IdTable();
    for (let index = 0; index < 100_000; index += 1) expect(table.add(`request-${index}`, index + 1)).toBe(0);
    for (let index = 0; index < 100_000; index += 7) expect(table.add(`request-${index}`, 1)).toBe(index + 1);
  });
});
