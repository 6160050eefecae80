import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { breakingChanges } from './breaking-changes.js';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8'));

it('the API breaks nobody who was written against the last release', () => {
  const changes = breakingChanges(read('openapi.baseline.json'), read('openapi.json'));
  const accept =
    'If this is meant: copy docs/openapi.json to docs/openapi.baseline.json in the same commit, with a changeset (npm run changeset) of a major version, or of a minor one while the version is 0.x, that tells users what to change.';
  expect(changes, [...changes, accept].join('\n')).toEqual([]);
});

describe('what counts as breaking', () => {
  const document = (operation: object, schemas: object = {}, more: object = {}) => ({
    paths: { '/v1/things': { post: operation, ...more } },
    components: { schemas },
  });
  const json = (schema: object) => ({ content: { 'application/json': { schema } } });
  const takes = (schema: object) => document({ requestBody: json(schema), responses: {} });
  const answers = (schema: object) => document({ responses: { 200: json(schema) } });
  const ref = { $ref: '#/components/schemas/T' };
  const text = { type: 'string' };
  const fields = (properties: object, ...required: string[]) => ({ type: 'object', properties, required });

  it.each<[string, object, object, RegExp]>([
    ['a path that is gone', takes(text), { paths: {} }, /^POST \/v1\/things is gone$/],
    [
      'a parameter that is needed',
      document({}),
      document({ parameters: [{ in: 'query', name: 'a', required: true }] }),
      /query parameter a is needed now/,
    ],
    [
      'a parameter that is gone',
      document({ parameters: [{ in: 'query', name: 'a' }] }),
      document({}),
      /parameter a is gone/,
    ],
    ['an answer that is gone', answers(text), document({ responses: {} }), /answer 200 is gone/],
    [
      'a field that is gone from an answer',
      answers(fields({ a: text })),
      answers(fields({})),
      /answer 200 .*: a is gone/,
    ],
    [
      'a field that may be missing',
      answers(fields({ a: text }, 'a')),
      answers(fields({ a: text })),
      /a may be missing/,
    ],
    ['a field that may be null', answers(text), answers({ type: ['string', 'null'] }), /can now be null/],
    ['a status nobody knows', answers({ enum: ['a'] }), answers({ enum: ['a', 'b'] }), /can now be "b"/],
    [
      'a variant nobody knows',
      answers(text),
      answers({ anyOf: [text, { type: 'number' }] }),
      /something it never was/,
    ],
    ['a needed field', takes(fields({ a: text })), takes(fields({ a: text }, 'a')), /a is needed now/],
    ['a narrower type', takes({ type: ['string', 'null'] }), takes(text), /no longer be null/],
    ['fewer values', takes({ enum: ['a', 'b'] }), takes({ enum: ['a'] }), /no longer be "b"/],
    [
      'a lower limit',
      takes({ type: 'number' }),
      takes({ type: 'number', maximum: 3 }),
      /maximum is narrower/,
    ],
    ['another pattern', takes(text), takes({ ...text, pattern: '^a$' }), /pattern is another/],
    ['fewer variants', takes({ anyOf: [text, { type: 'null' }] }), takes(text), /takes less/],
    [
      'behind a reference that holds itself',
      document({ responses: { 200: json(ref) } }, { T: fields({ next: ref, a: text }) }),
      document({ responses: { 200: json(ref) } }, { T: fields({ next: ref }) }),
      /a is gone/,
    ],
  ])('%s', (_, before, after, said) => {
    const changes = breakingChanges(before, after);
    expect(changes).toEqual([expect.stringMatching(said)]);
    expect(breakingChanges(before, before)).toEqual([]);
  });

  it.each<[string, object, object]>([
    ['another route', document({}), document({}, {}, { get: {} })],
    ['a field more in an answer', answers(fields({})), answers(fields({ a: text }, 'a'))],
    ['a field more in a request', takes(fields({})), takes(fields({ a: text }))],
    ['more values in a request', takes({ enum: ['a'] }), takes({ enum: ['a', 'b'] })],
    ['a variant more in a request', takes(text), takes({ anyOf: [text, { type: 'null' }] })],
    ['fewer values in an answer', answers({ enum: ['a', 'b'] }), answers({ const: 'a' })],
    ['a number that is always whole', answers({ type: 'number' }), answers({ type: 'integer' })],
  ])('not %s', (_, before, after) => {
    expect(breakingChanges(before, after)).toEqual([]);
  });
});
