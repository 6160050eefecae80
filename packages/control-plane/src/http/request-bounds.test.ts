import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { REQUEST_SCHEMAS } from './openapi.js';
import { API_ROUTES } from './openapi-routes.js';
import { maxLengthOf, maxPropertiesOf, unwrap } from './request-shape.js';
import { parseWith } from './validation.js';

/** Paths of lists, maps and texts in a schema that may be of any size. */
function unbounded(schema: z.ZodType, path: string): string[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject)
    return Object.entries(inner.shape).flatMap(([key, member]) =>
      unbounded(member as z.ZodType, `${path}.${key}`),
    );
  if (inner instanceof z.ZodArray) {
    const own = maxLengthOf(inner) === null ? [`${path}: a list`] : [];
    return [...own, ...unbounded(inner.element as z.ZodType, `${path}[]`)];
  }
  if (inner instanceof z.ZodRecord) {
    const own = maxPropertiesOf(inner) === null ? [`${path}: a map`] : [];
    const parts = [inner.keyType, inner.valueType] as z.ZodType[];
    return [...own, ...parts.flatMap((part) => unbounded(part, `${path}{}`))];
  }
  if (inner instanceof z.ZodUnion)
    return inner.options.flatMap((option) => unbounded(option as z.ZodType, path));
  if (inner instanceof z.ZodString) return inner.maxLength === null ? [`${path}: a text`] : [];
  const isBounded = [
    z.ZodNumber,
    z.ZodBoolean,
    z.ZodEnum,
    z.ZodLiteral,
    // Any value or object as it came: nothing is looked at, and the body's own bounds hold.
    z.ZodCustom,
    z.ZodUnknown,
  ].some((kind) => inner instanceof kind);
  return isBounded ? [] : [`${path}: ${inner.type} is not known to this test`];
}

const requests = API_ROUTES.flatMap(({ request, operationId }) => {
  const schema = request?.content['application/json'];
  return schema === undefined ? [] : [[operationId, schema] as const];
});

describe('the JSON body of every route', () => {
  it('is known', () => expect(requests.length).toBeGreaterThan(15));

  it.each(requests.filter(([, schema]) => typeof schema === 'string'))(
    '%s has bounds everywhere',
    (_, name) => {
      const schema = REQUEST_SCHEMAS[String(name)];
      expect(schema, String(name)).toBeDefined();
      if (schema !== undefined) expect(unbounded(schema, String(name))).toEqual([]);
    },
  );

  it('is passed on to the engine where it has no schema of ours', () => {
    const passedOn = requests
      .filter(([, schema]) => typeof schema !== 'string')
      .map(([operation]) => operation);
    expect(passedOn.length).toBeLessThanOrEqual(5);
  });
});

describe('what is over its limit', () => {
  const list = z.strictObject({
    list: z
      .array(z.enum(['a', 'b']))
      .max(2)
      .optional(),
  });
  const map = z.strictObject({ map: z.record(z.string(), z.string()).meta({ maxProperties: 2 }).nullish() });
  const nested = z.object({ rows: z.array(z.object({ tags: z.array(z.string()).max(1) })).max(2) });

  it.each<[string, z.ZodType, unknown, string]>([
    ['a list of bad elements', list, { list: Array(1_000_000).fill(1) }, 'list must have at most 2 elements'],
    [
      'a map of bad values',
      map,
      { map: Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`k${at}`, at])) },
      'map must have at most 2 pairs',
    ],
    [
      'a list in a list',
      nested,
      { rows: [{ tags: [] }, { tags: [1, 2] }] },
      'rows.1.tags must have at most 1 elements',
    ],
  ])('is told by its size alone: %s', (_, schema, value, message) => {
    expect(() => parseWith(schema, value)).toThrow(message);
    try {
      parseWith(schema, value);
    } catch (error) {
      expect(error).toMatchObject({ errors: [{ param: message.split(' ')[0] }] });
    }
  });
});

describe('null', () => {
  const schema = z.strictObject({
    left: z.string().optional(),
    kept: z.string().nullable().optional(),
    needed: z.string(),
    inside: z.strictObject({ left: z.int().optional() }).optional(),
    rows: z.array(z.object({ left: z.int().optional() })).optional(),
  });

  it('counts as left out where a field may be left out, at every depth', () => {
    const sent = {
      left: null,
      kept: null,
      needed: 'x',
      inside: { left: null },
      rows: [{ left: null }, { left: 1 }],
    };
    expect(parseWith(schema, sent)).toEqual({ kept: null, needed: 'x', inside: {}, rows: [{}, { left: 1 }] });
    expect(sent.rows[0]).toEqual({ left: null });
  });

  it('is refused where a field is needed', () => {
    expect(() => parseWith(schema, { needed: null })).toThrow(/needed/);
  });
});
