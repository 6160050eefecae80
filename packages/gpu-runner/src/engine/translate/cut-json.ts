import { type Json, parseExactObject } from '../answer.js';

/**
 * The object that a text of JSON begins with, as far as it can be read: where the text breaks off or goes wrong, what
 * stands complete before that counts, down to members of members. Nothing is guessed: a string or number that may go on
 * is left out. `{}` where the text begins with no object.
 */
export const readCutObject = (text: string): Json =>
  parseExactObject(text) ?? parseExactObject(completeStart(text)) ?? {};

/** A value, and what may stand behind it; the colon is part of the key. */
const STRING = String.raw`"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"`;
const KEY = new RegExp(String.raw`\s*(${STRING})\s*:`, 'y');
const OPEN = /\s*([{[])/y;
const CLOSE = /\s*([}\]])/y;
const COMMA = /\s*,/y;
/** What follows shows that a number or a word has ended. */
const SCALAR = new RegExp(
  String.raw`\s*(?:${STRING}|(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=[\s,}\]]))`,
  'y',
);

/** The text up to the last complete value, with the brackets closed that are open there. */
function completeStart(text: string): string {
  // Changes with `completeAt` only: what stands in it at the end is what was open there.
  const closers: string[] = [];
  let completeAt = 0;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  const value = (): boolean => {
    const opened = take(OPEN)?.[1];
    if (opened === undefined) return take(SCALAR) !== null;
    closers.push(opened === '{' ? '}' : ']');
    return true;
  };
  if (take(OPEN)?.[1] !== '{') return '';
  closers.push('}');
  /** No element stands before: no comma is needed. */
  let isFirst = true;
  while (closers.length > 0) {
    completeAt = at;
    if (take(CLOSE)?.[1] === closers.at(-1)) {
      closers.pop();
      isFirst = false;
      continue;
    }
    at = completeAt;
    if (!isFirst && take(COMMA) === null) break;
    if (closers.at(-1) === '}' && take(KEY) === null) break;
    const depth = closers.length;
    if (!value()) break;
    isFirst = closers.length > depth;
  }
  return text.slice(0, closers.length === 0 ? at : completeAt) + closers.toReversed().join('');
}
