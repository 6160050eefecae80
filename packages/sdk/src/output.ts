/**
 * What a model said, out of the engine's body: the text of a chat completion, completion, response or message, or the
 * vector of an embedding. `undefined` when the body has none of these.
 */
export function outputOf(response: unknown): unknown {
  if (!isRecord(response)) return undefined;
  return choiceText(response) ?? responseText(response) ?? messageText(response) ?? embeddingOf(response);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const records = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter(isRecord) : [];

/** `/v1/chat/completions` and `/v1/completions`. */
function choiceText(response: Record<string, unknown>): string | undefined {
  const [choice] = records(response.choices);
  if (choice === undefined) return undefined;
  const text = isRecord(choice.message) ? choice.message.content : choice.text;
  return typeof text === 'string' ? text : undefined;
}

/** `/v1/responses`. */
function responseText(response: Record<string, unknown>): string | undefined {
  const parts = records(response.output).flatMap((item) => records(item.content));
  return joined(parts.filter((part) => part.type === 'output_text'));
}

/** `/v1/messages`. */
function messageText(response: Record<string, unknown>): string | undefined {
  return joined(records(response.content).filter((part) => part.type === 'text'));
}

function joined(parts: Record<string, unknown>[]): string | undefined {
  if (parts.length === 0) return undefined;
  return parts.map((part) => (typeof part.text === 'string' ? part.text : '')).join('');
}

/** `/v1/embeddings`. */
function embeddingOf(response: Record<string, unknown>): unknown {
  return records(response.data)[0]?.embedding;
}
