import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { classify, type Failure } from './classify.js';
import type { EngineAnswer } from './reply.js';

function judged(body: string | Buffer, details: Partial<EngineAnswer> = {}): Failure {
  const bytes = Buffer.from(body);
  const reply: EngineAnswer = {
    kind: 'answer',
    status: 200,
    retryAfterMs: null,
    body: bytes,
    ms: 1,
    ...details,
  };
  const verdict = classify('/v1/chat/completions', reply);
  if (verdict === null || verdict.ok) throw new Error('it is an answer');
  return verdict;
}

const KINDS: [
  name: string,
  body: string | Buffer,
  details: Partial<EngineAnswer>,
  words: string,
  again: boolean,
][] = [
  ['gzip', gzipSync('{}'), { contentType: 'application/json' }, 'gzip, though none was asked for', true],
  ['another encoding', 'xx', { encoding: 'br' }, 'an encoding that nobody asked for, br,', true],
  ['a stream', 'data: {"choices":[]}\n\n', { contentType: 'text/event-stream' }, 'a stream of events', true],
  ['a comment of a stream', ': ping\n\n', {}, 'a stream of events', true],
  [
    'a page',
    '<!doctype html><title>Log in</title>',
    { contentType: 'text/html' },
    'a page of HTML (status 200, text/html, it begins "Log in")',
    false,
  ],
  ['XML', '<?xml version="1.0"?><a/>', {}, 'XML', false],
  ['nothing', '', {}, 'an empty body (status 200, no content type)', false],
  ['white space', ' \n', {}, 'white space only', false],
  [
    'a redirect',
    '',
    { status: 307, location: 'https://me:secret@login.example/x?token=1' },
    'a redirect to https://login.example/x:',
    true,
  ],
  ['NaN', '{"choices":[],"logprob":NaN}', {}, 'NaN, which is no JSON', true],
  ['Infinity', '{"a":"NaN","b":-Infinity}', {}, '-Infinity, which is no JSON', true],
  ['the words of Python', '{"a": None}', {}, 'None, which is no JSON', true],
  ['single quotes', "{'a': 1}", {}, 'JSON in single quotes', true],
  ['a cut', '{"choices":[{"message":', {}, 'JSON that is cut off', false],
  ['a comma', '{"choices":[1,],}', {}, 'JSON with a comma too many', true],
  ['several objects', '{"a":1}\n{"b":2}', {}, 'several objects instead of one', true],
  ['a list', '[1,2,3]', {}, 'a list of 3 instead of an object', true],
  ['null', 'null', {}, 'null instead of an object', true],
  ['a text', '"hello"', {}, 'a bare string instead of an object', true],
  ['a number', '7', {}, 'a bare number instead of an object', true],
  ['an empty object', '{}', {}, 'an empty object', true],
  [
    'another object',
    '{"object":"list","data":[]}',
    {},
    'an object that is no answer, with object, data,',
    true,
  ],
  [
    'plain text',
    'OK',
    { contentType: 'text/plain' },
    'text that is no JSON (status 200, text/plain, it begins "OK")',
    false,
  ],
  [
    'UTF-16',
    Buffer.from('{"a":1}', 'utf16le').toString('latin1').replace(/^/, '\u00ff\u00fe'),
    {},
    'text that is no JSON',
    false,
  ],
  ['a byte order mark', '\uFEFF{"choices":[]}', {}, 'JSON behind a byte order mark', true],
  ['control characters', 'a\u001b[31mb\u202ec', {}, 'it begins "a [31mb c"', false],
];

describe('an answer that cannot be used', () => {
  test.each(KINDS)('%s is named', (_name, body, details, words, again) => {
    const verdict = judged(body, details);
    expect(verdict.code).toBe('invalid_response');
    expect(verdict.message).toContain(words);
    expect(verdict.saidAgain).toBe(again);
  });

  test('shows nothing of what may be a completion', () => {
    expect(judged('{"text":"private words"}').message).not.toContain('private');
  });
});

const REFUSALS: [name: string, body: string, words: string | undefined][] = [
  ["OpenAI's error", '{"error":{"message":"too hot","code":400}}', 'too hot'],
  ['a bare error', '{"error":"Unauthorized"}', 'Unauthorized'],
  [
    "FastAPI's list",
    '{"detail":[{"loc":["body","n"],"msg":"too many"},{"loc":["body","x",1],"msg":"missing"}]}',
    'body.n: too many; body.x.1: missing',
  ],
  ["FastAPI's text", '{"detail":"Not Found"}', 'Not Found'],
  ["FastAPI's object", '{"detail":{"error":"no","message":"not here"}}', 'not here'],
  ['a message', '{"message":"no Route matched"}', 'no Route matched'],
  ['a list of errors', '{"errors":[{"message":"one"},{"message":"two"}]}', 'one; two'],
  ['a list', '["bad","worse"]', 'bad; worse'],
  ['a text of JSON', '"bad"', 'bad'],
  ['plain text', '404 page not found\n', '404 page not found'],
  ['a page', '<html><head><title>403 Forbidden</title></head></html>', '403 Forbidden'],
  ['a page without a title', '<html><body>x</body></html>', undefined],
  ['keys that every object has', '{"error":{"constructor":1,"toString":2}}', undefined],
  ['nothing', '', undefined],
];

test.each(REFUSALS)("an engine's words are kept: %s", (_name, body, words) => {
  expect(judged(body, { status: 422 }).message).toBe(words);
});
