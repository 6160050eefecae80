/** A small request for a route, as we ask an engine whether it takes any; `null` where none is known. */
export function canaryBody(path: string, model: string): Uint8Array | null {
  const body = BODIES.get(path);
  return body === undefined ? null : Buffer.from(JSON.stringify({ model, ...body }));
}

const WORD = 'Hi';
const MESSAGES = [{ role: 'user', content: WORD }];

/** Each costs a few input tokens and one of output, where the route lets one say so. */
const BODIES: ReadonlyMap<string, object> = new Map<string, object>([
  ['/v1/chat/completions', { messages: MESSAGES, max_tokens: 1 }],
  ['/v1/completions', { prompt: WORD, max_tokens: 1 }],
  ['/v1/messages', { messages: MESSAGES, max_tokens: 1 }],
  ['/v1/responses', { input: WORD, max_output_tokens: 16 }],
  ['/v1/embeddings', { input: WORD }],
]);
