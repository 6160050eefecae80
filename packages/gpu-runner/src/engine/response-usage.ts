import { isJsonObject, type Json } from './answer.js';

/** Counters that strict clients of `/v1/responses` demand, and engines leave out where they have nothing to count. */
const DEMANDED = [
  ['input_tokens_details', ['cached_tokens', 'cache_write_tokens']],
  ['output_tokens_details', ['reasoning_tokens']],
] as const;

/**
 * The text of a response with every counter of its usage that clients demand: those left out are 0. The one thing that
 * is ever added to an engine's answer. Nothing that the engine said is changed, no byte outside of the usage; the same
 * text comes back where nothing is missing.
 * @param answer what the text says
 */
export function withWholeUsage(text: string, answer: Json): string {
  const { usage } = answer;
  if (!isJsonObject(usage)) return text;
  const missing = DEMANDED.flatMap(([details, counters]) => {
    const said = usage[details] ?? {};
    if (!isJsonObject(said)) return [];
    const zeros = counters.filter((counter) => (said[counter] ?? null) === null);
    if (zeros.length === 0) return [];
    return [[details, { ...said, ...Object.fromEntries(zeros.map((counter) => [counter, 0])) }] as const];
  });
  const place = missing.length === 0 ? null : lastMember(text, 'usage');
  if (place === null) return text;
  const whole = JSON.stringify({ ...usage, ...Object.fromEntries(missing) });
  return text.slice(0, place.from) + whole + text.slice(place.to);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Where the value of a member of the outermost object stands in valid JSON text; the last one's, as parsers take it.
 * `null` where no key is written like this, without escapes.
 */
function lastMember(text: string, name: string): { from: number; to: number } | null {
  let found: { from: number; to: number } | null = null;
  let depth = 0;
  let isKey = false;
  /** Where the value of a member of that name began, while it goes on. */
  let from = -1;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      const end = endOfString(text, at);
      if (depth === 1 && isKey && end - at - 1 === name.length && text.startsWith(name, at + 1)) {
        from = text.indexOf(':', end) + 1;
      }
      isKey = false;
      at = end;
    } else if (char === 0x7b || char === 0x5b) {
      depth += 1;
      isKey = depth === 1;
    } else if (char === 0x7d || char === 0x5d || char === 0x2c) {
      const closes = char !== 0x2c;
      if (from !== -1 && depth === 1) {
        found = { from, to: at };
        from = -1;
      }
      if (closes) depth -= 1;
      isKey = depth === 1 && !closes;
    }
  }
  return found;
}

/** The closing quote of the string that opens at `from`. */
function endOfString(text: string, from: number): number {
  for (let quote = text.indexOf('"', from + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text.charCodeAt(quote - slashes - 1) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return quote;
  }
  return text.length;
}
