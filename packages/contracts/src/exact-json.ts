/**
 * JSON whose numbers stay as they were written. A JavaScript number keeps neither whole numbers over 2^53 nor `1.0`,
 * `-0` or `1e400`; what goes on as JSON must not change on its way, an id in a tool call least of all.
 */

/** What of ES2026's `JSON` the type library does not know yet (Node.js has it since 21). */
type SourceJson = JSON & {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
};

const json = JSON as SourceJson;

/**
 * `JSON.parse`, but a number that a JavaScript number would write otherwise becomes an object that `JSON.stringify`
 * writes as it stood in the text. Read numbers with `exactNumber`. Slower than `JSON.parse`: for what is written again.
 * @throws SyntaxError
 */
export const parseExactJson = (text: string): unknown => json.parse(text, keepNumber);

function keepNumber(_key: string, value: unknown, { source }: { readonly source?: string }): unknown {
  return typeof value === 'number' && source !== undefined && String(value) !== source
    ? json.rawJSON(source)
    : value;
}

/** True for a number that is kept as its text. */
export const isExactNumber = (value: unknown): boolean => json.isRawJSON(value);

/** A number of parsed JSON, kept as its text or not; `null` for everything else and for what is not finite. */
export function exactNumber(value: unknown): number | null {
  const number = json.isRawJSON(value) ? Number(value.rawJSON) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : null;
}
