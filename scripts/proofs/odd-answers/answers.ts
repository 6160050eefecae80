import { LIMITS } from '@batch-infer/contracts';
import { SeededRandom } from '../seeded-random.js';

/** Endpoints that answer in a shape of their own. */
export const ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/messages',
  '/v1/responses',
] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

/** What an engine sends for one request. */
export interface EngineAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

type Json = { [key: string]: unknown };

/** An answer as a well-behaved engine gives it; `text` is what it says. */
export function soundAnswer(endpoint: Endpoint, text: string): Json {
  const common = { id: `id-${text}`, created: 1_700_000_000, model: 'm' };
  const usage = {
    ...{ prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
    ...{ prompt_tokens_details: { cached_tokens: 1 }, completion_tokens_details: { reasoning_tokens: 0 } },
  };
  switch (endpoint) {
    case '/v1/chat/completions': {
      const message = { role: 'assistant', content: text };
      const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }];
      return { ...common, object: 'chat.completion', choices, usage };
    }
    case '/v1/completions': {
      const choices = [{ index: 0, text, logprobs: null, finish_reason: 'length' }];
      return { ...common, object: 'text_completion', choices, usage };
    }
    case '/v1/embeddings': {
      const data = [{ object: 'embedding', index: 0, embedding: [0.25, -1e-7, 3], text }];
      return { ...common, object: 'list', data, usage: { prompt_tokens: 5, total_tokens: 5 } };
    }
    case '/v1/messages': {
      const counts = { input_tokens: 5, cache_read_input_tokens: 1, output_tokens: 2 };
      return {
        ...{ id: `msg-${text}`, type: 'message', role: 'assistant', model: 'm' },
        ...{ content: [{ type: 'text', text }], stop_reason: 'end_turn', stop_sequence: null, usage: counts },
      };
    }
    case '/v1/responses': {
      const content = [{ type: 'output_text', text, annotations: [] }];
      const output = [{ type: 'message', id: 'msg', role: 'assistant', status: 'completed', content }];
      const counts = {
        ...{ input_tokens: 5, input_tokens_details: { cached_tokens: 1, cache_write_tokens: 0 } },
        ...{ output_tokens: 2, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 7 },
      };
      return { ...common, object: 'response', status: 'completed', output, usage: counts };
    }
  }
}

/** Values that no reader of an answer expects, as JSON. */
const ODD_VALUES: readonly string[] = [
  ...['null', 'true', 'false', '0', '-1', '-0', '1.5', '1e400', '-1e400', '1e-400', '9007199254740993'],
  ...['18446744073709551616', '1000000001', '2147483648', '0.1e1', `${'9'.repeat(400)}`],
  ...['""', '"7"', '"NaN"', '"constructor"', '"__proto__"', '"toString"', '"model_length"', '"ERROR"'],
  ...['[]', '[null]', '[[]]', '[-1,"x",{}]', '{}', '{"__proto__":{"a":1}}', '{"a":null}', '{"length":-1}'],
  ...['"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"a\\nb\\tc"', '"\u2028\u2029\u0085"', '"\u{1f600}é"'],
  ...['"abort"', '"error"', '"cancelled"', '"in_progress"', '"queued"', '"failed"'],
];

/** Replaces one member somewhere in an answer, leaves it out, writes it twice, or puts another beside it. */
function twist(answer: Json, random: SeededRandom): string {
  const odd = random.pick(ODD_VALUES);
  const paths = pathsOf(answer);
  const path = random.pick(paths);
  const how = random.pick(['replace', 'replace', 'replace', 'remove', 'double', 'beside'] as const);
  return write(answer, [], (at, key, value) => {
    const own = `${JSON.stringify(key)}:${value}`;
    if (at !== path) return own;
    const other = `${JSON.stringify(key)}:${odd}`;
    switch (how) {
      case 'replace':
        return other;
      case 'remove':
        return null;
      case 'double':
        return random.next() < 0.5 ? `${own},${other}` : `${other},${own}`;
      case 'beside':
        return `${own},${JSON.stringify(random.pick(['error', '__proto__', 'constructor', '', 'toJSON', 'x']))}:${odd}`;
    }
  });
}

function pathsOf(value: unknown, at: readonly string[] = []): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = [...at, key];
    return Array.isArray(value) ? pathsOf(inner, path) : [path.join('.'), ...pathsOf(inner, path)];
  });
}

/** JSON text in which each member of an object is written by `member`; `null` leaves it out. */
function write(
  value: unknown,
  at: readonly string[],
  member: (path: string, key: string, value: string) => string | null,
): string {
  if (Array.isArray(value))
    return `[${value.map((inner, index) => write(inner, [...at, String(index)], member)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, inner]) => {
    const path = [...at, key];
    return member(path.join('.'), key, write(inner, path, member));
  });
  return `{${members.filter((text) => text !== null).join(',')}}`;
}

/** Bodies that are no answer in any shape, and answers that are odd as bytes. */
const WHOLES: readonly ((text: string, random: SeededRandom) => string | Buffer)[] = [
  () => '',
  () => ' \n',
  () => 'null',
  () => '[]',
  () => '7',
  () => '"text"',
  () => '{}',
  () => 'NaN',
  () => '<html><body>502 Bad Gateway</body></html>',
  () => 'data: {"choices":[]}\n\ndata: [DONE]\n\n',
  (text) => text.slice(0, -2),
  (text) => `${text}${text}`,
  (text) => `\ufeff${text}`,
  (text) => text.replaceAll(',', ',\r\n\t'),
  (text) => JSON.stringify(JSON.parse(text), null, 2),
  (text) => text.replace(':', ':NaN,"x":'),
  (text) => Buffer.from(text, 'utf16le'),
  () => Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]),
  (text) => inside(text, Buffer.from([0xff, 0xfe, 0xc3, 0x28])),
  (text) => inside(text, Buffer.from([0])),
  (text) => inside(text, Buffer.from('\u2028 \u2029 \u0085')),
  (text) => inside(text, Buffer.from('\\ud83d \\u0000 \\u001b[31m')),
  (text) => inside(text, Buffer.from('\u{10ffff}\u0301\u200b')),
  (text) => inside(text, Buffer.alloc(700_000, 'a')),
  (text) => inside(text, Buffer.alloc(100_000, 0xff)),
  (text) => inside(text, Buffer.alloc(90_000, '\u2028')),
  (text) => text.replace('{', `{"deep":${'['.repeat(20_000)}${']'.repeat(20_000)},`),
  (text) => text.replace('{', `{"deep":${'{"a":'.repeat(900)}1${'}'.repeat(900)},`),
  (text) =>
    text.replace('{', `{${Array.from({ length: 3_000 }, (_, index) => `"k${index}":${index}`).join(',')},`),
  (text) => text.replace('{', `{"${'k'.repeat(70_000)}":1,`),
];

/** Puts bytes into the text that the answer says, or in front of its first string. */
function inside(text: string, bytes: Buffer): Buffer {
  const at = Math.max(0, text.indexOf('says')) || text.indexOf('"') + 1;
  return Buffer.concat([Buffer.from(text.slice(0, at)), bytes, Buffer.from(text.slice(at))]);
}

/** Refusals: an error body whose members are odd, or none. Never a status that speaks of the engine instead. */
function refusal(random: SeededRandom): EngineAnswer {
  const error = { message: 'the value is not valid', type: 'BadRequestError', param: 'x', code: 400 };
  const bodies = [
    () => twist({ error }, random),
    () => twist({ detail: [{ loc: ['body'], msg: 'field required', type: 'missing' }] }, random),
    () => JSON.stringify({ error: random.pick(['words', '', { message: 'm'.repeat(300_000) }]) }),
    () =>
      random.pick(['', '<html>400</html>', '[]', '"no"', '{"message":"flat"}', '\u2028', '{"error":[1]}']),
  ];
  const body = Buffer.from(random.pick(bodies)());
  return { status: random.pick([400, 413, 422]), contentType: 'application/json', body };
}

/** The odd answer of a seed: the same at each call. */
export function oddAnswer(endpoint: Endpoint, seed: number, text: string): EngineAnswer {
  const random = new SeededRandom(seed);
  const kind = random.next();
  if (kind > 0.9) return refusal(random);
  const sound = soundAnswer(endpoint, text);
  const odd = kind < 0.65 ? twist(sound, random) : random.pick(WHOLES)(JSON.stringify(sound), random);
  const contentType = random.next() < 0.9 ? 'application/json' : random.pick(['text/html', 'x', '']);
  return { status: 200, contentType, body: Buffer.from(odd) };
}

const NO_RESULTS: ReadonlySet<unknown> = new Set(['abort', 'aborted', 'cancelled', 'error']);
const NO_RESPONSES: ReadonlySet<unknown> = new Set(['failed', 'cancelled', 'in_progress', 'queued']);

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What has to be delivered of an answer, as it came; `null` where it is none, and its item has to fail. */
export function deliverable(endpoint: Endpoint, { status, body }: EngineAnswer): Json | null {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
  if (status !== 200 || !isObject(value) || depthOf(value) > LIMITS.answerDepth) return null;
  if (isObject(value.error) && value.choices === undefined) return null;
  switch (endpoint) {
    case '/v1/chat/completions':
    case '/v1/completions': {
      const choices: readonly unknown[] = Array.isArray(value.choices) ? value.choices : [];
      const areResults = choices.every((one) => isObject(one) && !NO_RESULTS.has(one.finish_reason));
      return choices.length > 0 && areResults ? value : null;
    }
    case '/v1/embeddings':
      return Array.isArray(value.data) && value.data.length > 0 ? value : null;
    case '/v1/messages':
      return Array.isArray(value.content) && !NO_RESULTS.has(value.stop_reason) ? value : null;
    case '/v1/responses':
      return Array.isArray(value.output) && !NO_RESPONSES.has(value.status) ? value : null;
  }
}

function depthOf(value: unknown): number {
  let deepest = 0;
  const open: [unknown, number][] = [[value, 1]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [inner, depth] = next;
    if (typeof inner !== 'object' || inner === null) continue;
    deepest = Math.max(deepest, depth);
    for (const one of Object.values(inner)) open.push([one, depth + 1]);
  }
  return deepest;
}

/**
 * True for values that the same JSON says; answers may be nested deeper than a recursion can follow.
 * @param filled Members that are not there, or null, on the right may be there on the left.
 */
export function isSameJson(left: unknown, right: unknown, filled = false): boolean {
  const pairs: [unknown, unknown][] = [[left, right]];
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [one, other] = pair;
    if (filled && other === null) continue;
    if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) {
      if (!Object.is(one, other)) return false;
      continue;
    }
    const isList = Array.isArray(other);
    const members = new Map<string, unknown>(Object.entries(one));
    const others = Object.entries(other);
    if (Array.isArray(one) !== isList) return false;
    if ((isList || !filled) && members.size !== others.length) return false;
    for (const [key, value] of others) {
      if (!members.has(key) && !(filled && value === null)) return false;
      pairs.push([members.get(key), value]);
    }
  }
  return true;
}
