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
      return { at, reason: 'there is more after the end of the JSON value' };
    case 'colon':
      if (char !== ':') return { at, reason: "expected ':' after a property name" };
      state.expect = 'value';
      return at + 1;
    case 'comma':
      return stepComma(char, at, state);
    case 'key':
    case 'key-or-end': {
      if (char === '}' && state.expect === 'key-or-end') return closeBracket(at, state);
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

function scanScalar(text: string, at: number): number | Broken {
  if (text[at] === '"') return scanString(text, at);
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

/** Whether a JSON value nests deeper than `limit` objects and arrays. Recursion ends at the limit. */
export function isDeeperThan(value: unknown, limit: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (limit === 0) return true;
  if (Array.isArray(value)) {
    for (const element of value)
      if (typeof element === 'object' && isDeeperThan(element, limit - 1)) return true;
    return false;
  }
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    if (typeof member === 'object' && isDeeperThan(member, limit - 1)) return true;
  }
  return false;
}

/**
 * The same, on bytes and before parsing: for long lines, where a hostile one of millions of brackets would cost
 * hundreds of megabytes as objects.
 */
export function nestsDeeperThan(bytes: Uint8Array, limit: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (inString) {
      if (byte === 0x5c) at += 1;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > limit) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return false;
}
