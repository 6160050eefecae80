/** What a client that was written against one OpenAPI document would trip over in the next. */

type Json = Readonly<Record<string, unknown>>;
/** Of a request we may accept more and never less; of an answer we may send no other values, and never less. */
type Direction = 'request' | 'answer';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;
const UPPER_LIMITS = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'] as const;
const LOWER_LIMITS = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'] as const;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const at = (value: unknown, ...keys: readonly string[]): Json => {
  let found = value;
  for (const key of keys) found = isObject(found) ? found[key] : undefined;
  return isObject(found) ? found : {};
};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const texts = (value: unknown): readonly string[] => listOf(value).map(String);

/** Every breaking change from `before` to `after`, one sentence each. */
export function breakingChanges(before: unknown, after: unknown): string[] {
  const found: string[] = [];
  for (const path of Object.keys(at(before, 'paths'))) {
    for (const method of METHODS) {
      const was = at(before, 'paths', path);
      if (!(method in was)) continue;
      const is = at(after, 'paths', path);
      const name = `${method.toUpperCase()} ${path}`;
      if (!(method in is)) found.push(`${name} is gone`);
      else found.push(...new Comparison(before, after).operations(name, at(was, method), at(is, method)));
    }
  }
  return [...new Set(found)];
}

class Comparison {
  readonly #before: unknown;
  readonly #after: unknown;
  /** Pairs of references that are being compared: schemas may hold themselves. */
  readonly #open = new Set<string>();

  constructor(before: unknown, after: unknown) {
    this.#before = before;
    this.#after = after;
  }

  operations(name: string, was: Json, is: Json): string[] {
    return [
      ...parameters(name, was, is),
      ...this.#request(name, at(was, 'requestBody'), at(is, 'requestBody')),
      ...Object.keys(at(was, 'responses')).flatMap((status) => {
        if (!(status in at(is, 'responses'))) return [`${name}: the answer ${status} is gone`];
        const contents = (from: Json) => at(from, 'responses', status, 'content');
        return this.#contents(`${name}: the answer ${status}`, contents(was), contents(is), 'answer');
      }),
    ];
  }

  #request(name: string, was: Json, is: Json): string[] {
    const nowNeeded = is.required === true && was.required !== true;
    return [
      ...(nowNeeded ? [`${name}: a body is needed now`] : []),
      ...this.#contents(`${name}: the request`, at(was, 'content'), at(is, 'content'), 'request'),
    ];
  }

  #contents(name: string, was: Json, is: Json, direction: Direction): string[] {
    return Object.keys(was).flatMap((type) =>
      type in is
        ? this.#schemas(`${name} (${type})`, at(was, type, 'schema'), at(is, type, 'schema'), direction)
        : [`${name} has no ${type} any more`],
    );
  }

  #schemas(name: string, was: Json, is: Json, direction: Direction): string[] {
    const pair = `${direction} ${String(was.$ref)} ${String(is.$ref)}`;
    const isNamed = typeof was.$ref === 'string' && typeof is.$ref === 'string';
    if (isNamed && this.#open.has(pair)) return [];
    if (isNamed) this.#open.add(pair);
    const left = variantsOf(resolved(this.#before, was));
    const right = variantsOf(resolved(this.#after, is));
    const [onlyLeft, onlyRight] = [left[0], right[0]];
    let changes: string[];
    if (left.length === 1 && right.length === 1 && onlyLeft !== undefined && onlyRight !== undefined) {
      changes = this.#plain(name, onlyLeft, onlyRight, direction);
    } else {
      const [needed, offered] = direction === 'request' ? [left, right] : [right, left];
      const fits = (one: Json, other: Json) =>
        (direction === 'request'
          ? this.#schemas(name, one, other, direction)
          : this.#schemas(name, other, one, direction)
        ).length === 0;
      const hasLost = needed.some((one) => !offered.some((other) => fits(one, other)));
      const what = direction === 'request' ? 'takes less than before' : 'may be something it never was';
      changes = hasLost ? [`${name} ${what}`] : [];
    }
    if (isNamed) this.#open.delete(pair);
    return changes;
  }

  #plain(name: string, was: Json, is: Json, direction: Direction): string[] {
    const changes = [...types(name, was, is, direction), ...values(name, was, is, direction)];
    if (direction === 'request') changes.push(...limits(name, was, is));
    const [wasNeeded, isNeeded] = [texts(was.required), texts(is.required)];
    if (direction === 'request') {
      for (const key of isNeeded) if (!wasNeeded.includes(key)) changes.push(`${name}: ${key} is needed now`);
    }
    for (const [key, schema] of Object.entries(at(was, 'properties'))) {
      const place = `${name}: ${key}`;
      const next = at(is, 'properties')[key];
      if (next === undefined) changes.push(`${place} is gone`);
      else {
        if (direction === 'answer' && wasNeeded.includes(key) && !isNeeded.includes(key))
          changes.push(`${place} may be missing now`);
        changes.push(...this.#schemas(place, at(schema), at(next), direction));
      }
    }
    for (const key of ['items', 'additionalProperties'])
      if (isObject(was[key]) && isObject(is[key]))
        changes.push(...this.#schemas(`${name}: each of its ${key}`, at(was, key), at(is, key), direction));
    return changes;
  }
}

function parameters(name: string, was: Json, is: Json): string[] {
  const keyOf = (parameter: unknown) => `${String(at(parameter).in)} parameter ${String(at(parameter).name)}`;
  const before = new Map(listOf(was.parameters).map((each) => [keyOf(each), at(each)]));
  const after = new Map(listOf(is.parameters).map((each) => [keyOf(each), at(each)]));
  return [
    ...[...before.keys()].filter((key) => !after.has(key)).map((key) => `${name}: the ${key} is gone`),
    ...[...after].flatMap(([key, { required }]) =>
      required === true && before.get(key)?.required !== true ? [`${name}: the ${key} is needed now`] : [],
    ),
  ];
}

function resolved(document: unknown, schema: Json): Json {
  if (typeof schema.$ref !== 'string') return schema;
  return resolved(document, at(document, ...schema.$ref.replace(/^#\//, '').split('/')));
}

function variantsOf(schema: Json): readonly Json[] {
  const variants = listOf(schema.anyOf ?? schema.oneOf).map((each) => at(each));
  return variants.length === 0 ? [schema] : variants;
}

function types(name: string, was: Json, is: Json, direction: Direction): string[] {
  const namesOf = (schema: Json): readonly string[] =>
    Array.isArray(schema.type) ? texts(schema.type) : schema.type === undefined ? [] : [String(schema.type)];
  const [needed, offered] =
    direction === 'request' ? [namesOf(was), namesOf(is)] : [namesOf(is), namesOf(was)];
  if (offered.length === 0) return [];
  if (needed.length === 0)
    return [
      `${name} ${direction === 'request' ? 'is narrowed to' : 'is no longer always'} ${offered.join(' or ')}`,
    ];
  const holds = (type: string) =>
    offered.includes(type) || (type === 'integer' && offered.includes('number'));
  const lost = needed.filter((type) => !holds(type));
  if (lost.length === 0) return [];
  return [`${name} ${direction === 'request' ? 'can no longer be' : 'can now be'} ${lost.join(' or ')}`];
}

function values(name: string, was: Json, is: Json, direction: Direction): string[] {
  const valuesOf = (schema: Json): readonly string[] | null => {
    const all = 'const' in schema ? [schema.const] : schema.enum;
    return Array.isArray(all) ? all.map((value) => JSON.stringify(value)) : null;
  };
  const [needed, offered] =
    direction === 'request' ? [valuesOf(was), valuesOf(is)] : [valuesOf(is), valuesOf(was)];
  if (offered === null) return [];
  const lost = needed?.filter((value) => !offered.includes(value)) ?? ['any value'];
  if (lost.length === 0) return [];
  return [`${name} ${direction === 'request' ? 'can no longer be' : 'can now be'} ${lost.join(' or ')}`];
}

function limits(name: string, was: Json, is: Json): string[] {
  const figure = (value: unknown, absent: number) => (typeof value === 'number' ? value : absent);
  const lowered = UPPER_LIMITS.filter((key) => figure(is[key], Infinity) < figure(was[key], Infinity));
  const raised = LOWER_LIMITS.filter((key) => figure(is[key], -Infinity) > figure(was[key], -Infinity));
  const changed = [...lowered, ...raised].map((key) => `${name}: ${key} is narrower now`);
  if (is.pattern !== undefined && is.pattern !== was.pattern) changed.push(`${name}: its pattern is another`);
  return changed;
}
