/** What is wrong with a text that `JSON.parse` refused: never quotes the text, which may be a prompt. */
export interface JsonFault {
  /** 1-based column, in UTF-16 units. */
  readonly column: number;
  readonly reason: string;
}

/** Finds the first fault of a text that is not JSON. Linear, without recursion. */
export function findJsonFault(text: string): JsonFault {
  const state: ParseState = { closers: [], expect: 'value' };
  let at = 0;
  for (;;) {
    at = skipSpace(text, at);
    if (at >= text.length) return { column: at + 1, reason: endReason(state) };
    const next = step(text, at, state);
    if (typeof next !== 'number') return { column: next.at + 1, reason: next.reason };
    at = next;
  }
}

interface ParseState {
  /** Closing brackets that are still to come, innermost last. */
  readonly closers: string[];
  expect: Expectation;
}

/** Takes one token; where the next may begin, or what is wrong with this one. */
function step(text: string, at: number, state: ParseState): number | Broken {
  const char = text[at] ?? '';
  switch (state.expect) {
    case 'end':
      return { at, reason: moreReason(text, at) };
    case 'colon':
      if (char !== ':') return { at, reason: "expected ':' after a property name" };
      state.expect = 'value';
      return at + 1;
    case 'comma':
      return stepComma(char, at, state);
    case 'key':
    case 'key-or-end': {
      if (char === '}' && state.expect === 'key-or-end') return closeBracket(at, state);
      if (char === '}')
        return {
          at,
          reason: 'expected a property name in double quotes: take out the comma before the closing brace',
        };
      if (char !== '"') return { at, reason: 'expected a property name in double quotes' };
      state.expect = 'colon';
      return scanString(text, at);
    }
    default: {
      if (char === ']' && state.expect === 'value-or-end') return closeBracket(at, state);
      if (char === '{' || char === '[') {
        state.closers.push(char === '{' ? '}' : ']');
        state.expect = char === '{' ? 'key-or-end' : 'value-or-end';
        return at + 1;
      }
      state.expect = state.closers.length === 0 ? 'end' : 'comma';
      return scanScalar(text, at);
    }
  }
}

function moreReason(text: string, at: number): string {
  if (text[at] === '\uFEFF') return BYTE_ORDER_MARK;
  return text.slice(at).trim() === ','
    ? "a comma stands behind the object, and JSONL has none between lines: take them out with sed 's/,[[:space:]]*$//'"
    : 'there is more after the end of the JSON value';
}

function stepComma(char: string, at: number, state: ParseState): number | Broken {
  const closer = state.closers.at(-1) ?? '';
  if (char === closer) return closeBracket(at, state);
  if (char !== ',') return { at, reason: `expected ',' or '${closer}'` };
  state.expect = closer === '}' ? 'key' : 'value';
  return at + 1;
}

function closeBracket(at: number, state: ParseState): number {
  state.closers.pop();
  state.expect = state.closers.length === 0 ? 'end' : 'comma';
  return at + 1;
}

type Expectation = 'value' | 'value-or-end' | 'key' | 'key-or-end' | 'colon' | 'comma' | 'end';
type Broken = { readonly at: number; readonly reason: string };

function endReason({ expect, closers }: ParseState): string {
  if (expect === 'end') return 'no fault was found';
  return closers.length === 0 ? 'expected a value' : `ends before its closing '${closers.at(-1)}'`;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\r\n'.includes(text[at] ?? '')) at += 1;
  return at;
}

const BYTE_ORDER_MARK =
  "a byte order mark stands here, as between files that were joined: take it out with LC_ALL=C sed -i 's/\\xEF\\xBB\\xBF//g' in.jsonl";

/** What other languages write and JSON does not have. */
const KNOWN_FAULTS: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  {
    pattern: /-?(?:NaN|Infinity|inf|nan)\b/y,
    reason:
      'JSON has no NaN and no Infinity: write null, or leave the key out (in Python json.dumps(…, allow_nan=False) finds it)',
  },
  {
    pattern: /(?:None|True|False)\b/y,
    reason: 'this is how Python shows a value: write JSON, with json.dumps',
  },
  { pattern: /undefined\b/y, reason: 'JSON has no undefined: write null, or leave the key out' },
  {
    pattern: /'/y,
    reason: 'JSON has double quotes only: write the line with a JSON library (in Python json.dumps)',
  },
  { pattern: /\uFEFF/y, reason: BYTE_ORDER_MARK },
];

function scanScalar(text: string, at: number): number | Broken {
  if (text[at] === '"') return scanString(text, at);
  const known = KNOWN_FAULTS.find(({ pattern }) => {
    pattern.lastIndex = at;
    return pattern.test(text);
  });
  if (known !== undefined) return { at, reason: known.reason };
  const scalar = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/y;
  scalar.lastIndex = at;
  return scalar.test(text) ? scalar.lastIndex : { at, reason: 'expected a value' };
}

function scanString(text: string, start: number): number | Broken {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at + 1;
    if (code === 0) return { at, reason: 'a string holds a NUL byte' };
    if (code < 0x20) return { at, reason: 'a string holds a control character that is not escaped' };
    if (code !== 0x5c) continue;
    at += 1;
    const escaped = text[at] ?? '';
    if (escaped === 'u') {
      if (!/^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5)))
        return { at, reason: 'a \\u escape is not four hex digits' };
      at += 4;
    } else if (escaped !== '' && !'"\\/bfnrt'.includes(escaped))
      return { at, reason: 'a string holds an unknown escape' };
  }
  return { at: text.length, reason: 'a string has no closing quote' };
}
