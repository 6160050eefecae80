import { isJsonObject, type Json } from '../answer.js';

/**
 * A chat completion as an Anthropic message; `null` when it has no answer in it. Reasons to end that Anthropic has no
 * word for stay as they are, so that an aborted answer is still seen to be one. Pure.
 */
export function toMessage(completion: Json): Json | null {
  const choice: unknown = Array.isArray(completion.choices) ? completion.choices[0] : undefined;
  if (!isJsonObject(choice) || !isJsonObject(choice.message)) return null;
  const content = contentOf(choice.message);
  if (content === null) return null;
  return {
    id: `msg_${String(completion.id ?? '').replace(/^chatcmpl-/, '')}`,
    type: 'message',
    role: 'assistant',
    model: completion.model ?? null,
    content,
    ...stopOf(choice, content),
    usage: usageOf(completion.usage),
  };
}

function contentOf(message: Json): Json[] | null {
  const blocks: Json[] = [];
  const thinking = message.reasoning_content ?? message.reasoning;
  if (typeof thinking === 'string' && thinking !== '')
    blocks.push({ type: 'thinking', thinking, signature: '' });
  const { content } = message;
  if (typeof content === 'string') {
    if (content !== '') blocks.push(textBlock(content));
  } else if (Array.isArray(content)) {
    for (const part of content as unknown[])
      if (isJsonObject(part) && part.type === 'text') blocks.push(textBlock(String(part.text)));
  }
  if (typeof message.refusal === 'string' && blocks.length === 0) blocks.push(textBlock(message.refusal));
  const calls: readonly unknown[] = Array.isArray(message.tool_calls) ? message.tool_calls : [];
  for (const call of calls) {
    const block = toolUse(call);
    if (block === null) return null;
    blocks.push(block);
  }
  return blocks;
}

const textBlock = (text: string): Json => ({ type: 'text', text, citations: null });

/** `null` when the arguments are no JSON object: then the answer is broken, and asked for again. */
function toolUse(call: unknown): Json | null {
  if (!isJsonObject(call) || !isJsonObject(call.function)) return null;
  const { name, arguments: text } = call.function;
  if (typeof name !== 'string') return null;
  try {
    const input: unknown = typeof text === 'string' && text.trim() !== '' ? JSON.parse(text) : (text ?? {});
    const given = input === '' ? {} : input;
    return isJsonObject(given)
      ? { type: 'tool_use', id: call.id ?? `toolu_${name}`, name, input: given }
      : null;
  } catch {
    return null;
  }
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
  // vLLM's word for an answer that it cut because it went round in circles.
  repetition: 'end_turn',
  eos: 'end_turn',
  eos_token: 'end_turn',
};

function stopOf(choice: Json, content: readonly Json[]): Json {
  const { finish_reason: reason, stop_reason: matched } = choice;
  const calls = content.some(({ type }) => type === 'tool_use');
  if (reason === 'stop' && calls) return { stop_reason: 'tool_use', stop_sequence: null };
  // vLLM names the stop string that ended it; a number is a token id.
  if (reason === 'stop' && typeof matched === 'string')
    return { stop_reason: 'stop_sequence', stop_sequence: matched };
  return { stop_reason: STOP_REASONS[String(reason)] ?? reason ?? 'end_turn', stop_sequence: null };
}

/** Anthropic counts what was read from and written to the cache beside `input_tokens`, OpenAI inside the prompt. */
function usageOf(usage: unknown): Json {
  const count = (object: unknown, key: string): number => {
    const value = isJsonObject(object) ? object[key] : undefined;
    return typeof value === 'number' && Number.isFinite(value) ? value : 0;
  };
  const details = isJsonObject(usage) ? usage.prompt_tokens_details : undefined;
  const prompt = count(usage, 'prompt_tokens');
  const read = Math.min(count(details, 'cached_tokens'), prompt);
  const written = Math.min(count(details, 'created_cache_tokens'), prompt - read);
  return {
    input_tokens: prompt - read - written,
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    output_tokens: count(usage, 'completion_tokens'),
  };
}
