/** What decides whether a request determines its answer, as values of its body (job defaults merged in). */
export interface SamplingChoices {
  readonly n?: unknown;
  readonly temperature?: unknown;
  readonly seed?: unknown;
}

/**
 * Whether an identical request may have the same answer. Embeddings always; any other request when the engine is to give
 * one choice, and to take the likeliest token or to draw by a seed.
 * @param endpoint path of the request, such as `/v1/embeddings`
 */
export function isDetermined(endpoint: string, { n = 1, temperature, seed }: SamplingChoices): boolean {
  if (endpoint === '/v1/embeddings') return true;
  return n === 1 && (temperature === 0 || Number.isInteger(seed));
}
