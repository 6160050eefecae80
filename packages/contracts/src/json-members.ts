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
    const nameEnd = stringEnd(text, at);
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

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\n' || text[at] === '\r') at += 1;
  return at;
}

/** Behind the closing quotation mark of a string that starts here. */
function stringEnd(text: string, start: number): number {
  if (text[start] !== '"') throw new SyntaxError('a string was expected');
  let quote = start;
  do {
    quote = text.indexOf('"', quote + 1);
    if (quote === -1) throw new SyntaxError('a string without an end');
  } while (isEscaped(text, quote));
  return quote + 1;
}

/** An odd number of backslashes stands before it. */
function isEscaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text[at - 1 - backslashes] === '\\') backslashes += 1;
  return backslashes % 2 === 1;
}

function valueEnd(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return stringEnd(text, start);
  if (first !== '{' && first !== '[') return scalarEnd(text, start);
  const structure = /["{}[\]]/g;
  let depth = 0;
  structure.lastIndex = start;
  for (let found = structure.exec(text); found !== null; found = structure.exec(text)) {
    if (found[0] === '"') structure.lastIndex = stringEnd(text, found.index);
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
