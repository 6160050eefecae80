import { skipSpace, stringEnd } from './jsonl/json-walk.js';

/**
 * The members of a JSON object as they stand in its text: names decoded, values untouched. For values that must go on as
 * they came, digit for digit and escape for escape.
 *
 * @throws SyntaxError when the text is no JSON object. Values are not checked any further.
 */
export function rawMembers(text: string): Map<string, string> {
  const members = new Map<string, string>();
  let at = skipSpace(text, 0);
  if (text[at] !== '{') throw new SyntaxError('not a JSON object');
  at = skipSpace(text, at + 1);
  while (text[at] !== '}') {
    const nameEnd = closedStringEnd(text, at);
    const name: unknown = JSON.parse(text.slice(at, nameEnd));
    at = skipSpace(text, nameEnd);
    if (typeof name !== 'string' || text[at] !== ':') throw new SyntaxError('a member without a value');
    const start = skipSpace(text, at + 1);
    const end = valueEnd(text, start);
    members.set(name, text.slice(start, end));
    at = skipSpace(text, end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
    else if (text[at] !== '}') throw new SyntaxError('members without a comma between them');
  }
  return members;
}

function closedStringEnd(text: string, start: number): number {
  const end = text[start] === '"' ? stringEnd(text, start) : -1;
  if (end === -1) throw new SyntaxError('a whole string was expected');
  return end;
}

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return closedStringEnd(text, start);
  if (first !== '{' && first !== '[') return scalarEnd(text, start);
  const structure = /["{}[\]]/g;
  let depth = 0;
  structure.lastIndex = start;
  for (let found = structure.exec(text); found !== null; found = structure.exec(text)) {
    if (found[0] === '"') structure.lastIndex = closedStringEnd(text, found.index);
    else depth += found[0] === '{' || found[0] === '[' ? 1 : -1;
    if (depth === 0) return structure.lastIndex;
  }
  throw new SyntaxError('a value without an end');
}

/** Behind a number, `true`, `false` or `null`. */
function scalarEnd(text: string, start: number): number {
  const end = /[,}\]\s]|$/g;
  end.lastIndex = start;
  const at = end.exec(text)?.index ?? text.length;
  if (at === start) throw new SyntaxError('a value was expected');
  return at;
}
