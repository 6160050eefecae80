/** The SDK's objects as the API spells them: snake_case keys. What users named themselves (`metadata`) stays. */
export function toWireJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toWireJson);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      key === 'metadata' || key === 'models' ? part : toWireJson(part),
    ]),
  );
}
