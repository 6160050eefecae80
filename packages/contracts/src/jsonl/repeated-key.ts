import { skipSpace, stringEnd } from './json-walk.js';
import { allSteps, type Steps } from './steps.js';

/**
 * A key that stands twice in one object of a JSON text, at most 80 characters of it; `null`: none does. Readers do not
 * agree on which of the two counts, so that one of them would judge what another never sees.
 *
 * @param text what `value` was parsed from
 * @param members how many members all objects of `value` have
 * @param keys how many keys stand in the text, where that is known already
 */
export function findRepeatedKey(text: string, members: number, keys = countKeys(text)): string | null {
  // A parser drops one of two: counting tells so at a fraction of the cost of looking at each key.
  return keys === members ? null : allSteps(searchRepeatedKeySteps(text));
}

/**
 * Members of all objects of a JSON value; `null` when it nests deeper than `maxDepth` objects and arrays. Recursion ends
 * at that depth.
 */
export function countMembers(value: unknown, maxDepth: number): number | null {
  if (typeof value !== 'object' || value === null) return 0;
  if (maxDepth === 0) return null;
  let count = 0;
  if (Array.isArray(value)) {
    for (const element of value) {
      if (typeof element !== 'object') continue;
      const inside = countMembers(element, maxDepth - 1);
      if (inside === null) return null;
      count += inside;
    }
    return count;
  }
  for (const key in value) {
    count += 1;
    const member = (value as Record<string, unknown>)[key];
    if (typeof member !== 'object') continue;
    const inside = countMembers(member, maxDepth - 1);
    if (inside === null) return null;
    count += inside;
  }
  return count;
}

const SHOWN_KEY_CHARS = 80;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

function countKeys(text: string): number {
  let keys = 0;
  for (let at = text.indexOf('"'); at !== -1; at = text.indexOf('"', at)) {
    const end = stringEnd(text, at);
    // Not in a text that is JSON.
    if (end === -1) return keys;
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === COLON) keys += 1;
  }
  return keys;
}

/** Characters that are looked at in one step. */
const STEP_CHARS = 128 * 1024;

/** The same in short steps, where counting has told that a key stands twice. */
export function* searchRepeatedKeySteps(text: string): Steps<string | null> {
  const objects: Set<string>[] = [];
  let stringStart = -1;
  for (let at = 0; at < text.length; at += 1) {
    if (at % STEP_CHARS === STEP_CHARS - 1) yield;
    const code = text.charCodeAt(at);
    if (stringStart === -1) {
      if (code === QUOTE) stringStart = at;
      else if (code === 0x7b || code === 0x5b) objects.push(new Set());
      else if (code === 0x7d || code === 0x5d) objects.pop();
      continue;
    }
    if (code === BACKSLASH) at += 1;
    if (code !== QUOTE) continue;
    const end = at + 1;
    if (text.charCodeAt(skipSpace(text, end)) === COLON) {
      const key = JSON.parse(text.slice(stringStart, end)) as string;
      const keys = objects.at(-1);
      if (keys?.has(key) === true) return key.slice(0, SHOWN_KEY_CHARS).replaceAll(/\p{Cc}/gu, '�');
      keys?.add(key);
    }
    stringStart = -1;
  }
  return null;
}
