import { z } from 'zod';

/** What of a request is more than its schema lets it be: told before any element is looked at. */
export interface TooMany {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** A value as its schema is to see it, and the first list or map in it that is over its limit. */
interface Shaped {
  readonly value: unknown;
  readonly tooMany: TooMany | null;
}

/**
 * Makes a request ready for its schema:
 * - `null` counts as left out wherever a field may be left out: that is what serializers write for it;
 * - lists and maps over their limit are found by their size alone. A schema would look at each element first, and make an
 *   issue of each bad one: of a body of a few MiB that takes minutes.
 *
 * What is not an object of the schema's stays as it is, for the schema to refuse.
 */
export function shapeRequest(schema: z.ZodType, value: unknown, path: readonly PropertyKey[] = []): Shaped {
  const inner = unwrap(schema);
  if (typeof value !== 'object' || value === null) return { value, tooMany: null };
  if (inner instanceof z.ZodArray && Array.isArray(value)) return shapeArray(inner, value, path);
  if (Array.isArray(value)) return { value, tooMany: null };
  const members = value as Readonly<Record<string, unknown>>;
  if (inner instanceof z.ZodObject) return shapeObject(inner, members, path);
  const most = maxPropertiesOf(inner);
  if (most !== null && Object.keys(members).length > most) {
    return { value, tooMany: { path, message: `must have at most ${most} pairs` } };
  }
  return { value, tooMany: null };
}

function shapeArray(schema: z.ZodArray, value: readonly unknown[], path: readonly PropertyKey[]): Shaped {
  const most = maxLengthOf(schema);
  if (most !== null && value.length > most) {
    return { value, tooMany: { path, message: `must have at most ${most} elements` } };
  }
  const element = schema.element as z.ZodType;
  if (!(unwrap(element) instanceof z.ZodObject)) return { value, tooMany: null };
  let changed: unknown[] | null = null;
  for (let at = 0; at < value.length; at += 1) {
    const shaped = shapeRequest(element, value[at], [...path, at]);
    if (shaped.tooMany !== null) return { value, tooMany: shaped.tooMany };
    if (shaped.value === value[at]) continue;
    changed ??= [...value];
    changed[at] = shaped.value;
  }
  return { value: changed ?? value, tooMany: null };
}

function shapeObject(
  schema: z.ZodObject,
  value: Readonly<Record<string, unknown>>,
  path: readonly PropertyKey[],
): Shaped {
  let changed: Record<string, unknown> | null = null;
  for (const [key, member] of Object.entries(schema.shape)) {
    if (!Object.hasOwn(value, key)) continue;
    const sent = value[key];
    const field = member as z.ZodType;
    if (sent === null && field.safeParse(undefined).success && !field.safeParse(null).success) {
      changed ??= { ...value };
      delete changed[key];
      continue;
    }
    const shaped = shapeRequest(field, sent, [...path, key]);
    if (shaped.tooMany !== null) return { value, tooMany: shaped.tooMany };
    if (shaped.value === sent) continue;
    changed ??= { ...value };
    changed[key] = shaped.value;
  }
  return { value: changed ?? value, tooMany: null };
}

/** The schema without what only says that it may be missing or null. */
export function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault)
    inner = inner.unwrap() as z.ZodType;
  return inner;
}

/** `.max(n)` of a list; `null` without one. */
export function maxLengthOf(schema: z.ZodArray): number | null {
  for (const check of schema.def.checks ?? []) {
    if (check instanceof z.core.$ZodCheckMaxLength) return check._zod.def.maximum;
  }
  return null;
}

/** `.meta({ maxProperties })` of a map; `null` without one. */
export function maxPropertiesOf(schema: z.ZodType): number | null {
  const most = schema.meta()?.maxProperties;
  return typeof most === 'number' ? most : null;
}
