import { hasKey, scanObject } from '../work/json-scan.js';
import { isJsonObject, type Json, parseExactObject } from './answer.js';

const USAGE = Buffer.from('usage');

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
  if (!isJsonObject(answer.usage) || missingIn(answer.usage).length === 0) return text;
  const bytes = Buffer.from(text);
  // The last one counts, as for parsers. One whose key is written with escapes is left alone.
  const place = scanObject(bytes)?.members.findLast((member) => hasKey(bytes, member, USAGE));
  const usage =
    place === undefined ? null : parseExactObject(bytes.toString('utf8', place.valueStart, place.valueEnd));
  if (place === undefined || usage === null) return text;
  const whole = JSON.stringify({ ...usage, ...Object.fromEntries(missingIn(usage)) });
  return bytes.toString('utf8', 0, place.valueStart) + whole + bytes.toString('utf8', place.valueEnd);
}

/** Details that lack a counter, with it. */
function missingIn(usage: Json): (readonly [string, Json])[] {
  return DEMANDED.flatMap(([details, counters]) => {
    const said = usage[details] ?? {};
    if (!isJsonObject(said)) return [];
    const zeros = counters.filter((counter) => (said[counter] ?? null) === null);
    if (zeros.length === 0) return [];
    return [[details, { ...said, ...Object.fromEntries(zeros.map((counter) => [counter, 0])) }] as const];
  });
}
