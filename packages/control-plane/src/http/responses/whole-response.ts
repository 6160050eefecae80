import { type JsonObject, listOf } from '../sync/json-object.js';

/**
 * An engine's response with everything that strict clients of OpenAI's Responses API demand. What the engine leaves out is
 * as it was asked for, or OpenAI's own value; `null` counts as left out where no client takes it. Nothing else of what it
 * said is changed, and the same object comes back where nothing is missing.
 * @param own what is known without the engine: the id, the time
 */
export function wholeResponse(said: JsonObject, request: JsonObject, own: JsonObject): JsonObject {
  const output = listOf(said.output);
  const items = output.map((item, index) => wholeItem(item, `${String(said.id ?? own.id)}_${index}`));
  const changed = items.some((item, index) => item !== output[index]);
  return withMissing(changed ? { ...said, output: items } : said, {
    completed_at: null,
    error: null,
    ...own,
    ...asAsked(request),
  });
}

/** The fields of a response that repeat its request, with OpenAI's own values where nothing was said. */
export function asAsked(request: JsonObject): JsonObject {
  const asked = (name: string, otherwise: unknown = null): unknown => request[name] ?? otherwise;
  return {
    incomplete_details: null,
    instructions: asked('instructions'),
    max_output_tokens: asked('max_output_tokens'),
    max_tool_calls: asked('max_tool_calls'),
    metadata: asked('metadata', {}),
    model: asked('model', ''),
    output: [],
    parallel_tool_calls: asked('parallel_tool_calls', true),
    previous_response_id: asked('previous_response_id'),
    prompt: asked('prompt'),
    prompt_cache_key: asked('prompt_cache_key'),
    reasoning: asked('reasoning'),
    safety_identifier: asked('safety_identifier'),
    service_tier: asked('service_tier'),
    store: asked('store', true),
    temperature: asked('temperature'),
    text: asked('text', { format: { type: 'text' } }),
    tool_choice: asked('tool_choice', 'auto'),
    tools: asked('tools', []),
    top_logprobs: asked('top_logprobs'),
    top_p: asked('top_p'),
    truncation: asked('truncation'),
    usage: null,
    user: asked('user'),
  };
}

function wholeItem(item: JsonObject, id: string): JsonObject {
  switch (item.type) {
    case 'message': {
      const content = listOf(item.content);
      const parts = content.map((part) =>
        part.type === 'output_text' ? withMissing(part, { text: '', annotations: [] }) : part,
      );
      const changed = parts.some((part, index) => part !== content[index]);
      return withMissing(changed ? { ...item, content: parts } : item, {
        ...{ id: `msg_${id}`, status: 'completed', role: 'assistant', content: [] },
      });
    }
    case 'function_call':
      return withMissing(item, {
        ...{ id: `fc_${id}`, call_id: item.id ?? `call_${id}`, status: 'completed', arguments: '{}' },
      });
    case 'reasoning':
      return withMissing(item, { id: `rs_${id}`, summary: [] });
    default:
      return item;
  }
}

/** What is missing in an object, from another. `null` is missing where the other one has a value. */
function withMissing(said: JsonObject, otherwise: JsonObject): JsonObject {
  const missing = Object.entries(otherwise).filter(
    ([key, value]) => said[key] === undefined || (said[key] === null && value !== null),
  );
  return missing.length === 0 ? said : { ...otherwise, ...said, ...Object.fromEntries(missing) };
}
