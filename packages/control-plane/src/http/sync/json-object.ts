/** A JSON object of an engine's, whose members are looked at one by one. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The objects of a list; none where there is no list. */
export const listOf = (value: unknown): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
