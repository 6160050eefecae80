import { exactNumber, isExactNumber } from '@batch-infer/contracts';
import { isJsonObject, type Json } from '../answer.js';
import { readCutObject } from './cut-json.js';

/**
 * A chat completion as an Anthropic message; `null` when there is no answer in it. What a strict reader refuses as `null`
 * is left out. Reasons that say that the answer was broken off stay as they are, so that this is still seen. Pure.
 * @param asked the model that was asked for, where the completion names none
 */
export function toMessage(completion: Json, asked: unknown = ''): Json | null {
  const choice: unknown = Array.isArray(completion.choices) ? completion.choices[0] : undefined;
  if (!isJsonObject(choice) || !isJsonObject(choice.message)) return null;
  const id = String(completion.id ?? '').replace(/^chatcmpl-/, '');
  const content = contentOf(choice.message, id);
  return {
    id: `msg_${id}`,
    type: 'message',
    role: 'assistant',
    model: String(completion.model ?? asked),
    content,
    ...stopOf(choice, content),
    usage: usageOf(completion.usage),
  };
}

function contentOf(message: Json, id: string): Json[] {
  const blocks: Json[] = [];
  const thinking = message.reasoning_content ?? message.reasoning;
  if (typeof thinking === 'string' && thinking !== '')
    blocks.push({ type: 'thinking', thinking, signature: '' });
  for (const text of textsOf(message.content)) if (text !== '') blocks.push({ type: 'text', text });
  if (typeof message.refusal === 'string' && message.refusal !== '' && blocks.length === 0)
    blocks.push({ type: 'text', text: message.refusal });
  // `function_call` is the older form: one call, without an id.
  const older = isJsonObject(message.function_call) ? [{ function: message.function_call }] : [];
  const calls: readonly unknown[] = Array.isArray(message.tool_calls) ? message.tool_calls : older;
  calls.forEach((call, index) => {
    const block = toolUse(call, `toolu_${id}_${index}`);
    if (block !== null) blocks.push(block);
  });
  return blocks;
}

function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content];
  if (!Array.isArray(content)) return [];
  return content.flatMap((part: unknown) => {
    if (typeof part === 'string') return [part];
    if (!isJsonObject(part)) return [];
    const text = part.type === 'refusal' ? part.refusal : part.text;
    return typeof text === 'string' ? [text] : [];
  });
}

/** A call without a name cannot be told; arguments that are cut or broken are told as far as they can be read. */
function toolUse(call: unknown, otherId: string): Json | null {
  if (!isJsonObject(call) || !isJsonObject(call.function)) return null;
  const { name, arguments: given } = call.function;
  if (typeof name !== 'string' || name === '') return null;
  const id = typeof call.id === 'string' && call.id !== '' ? call.id : otherId;
  return { type: 'tool_use', id, name, input: inputOf(given) };
}

/** Some engines give the object itself instead of its text. */
function inputOf(given: unknown): Json {
  if (typeof given === 'string') return readCutObject(given);
  return isJsonObject(given) && !isExactNumber(given) ? given : {};
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  model_length: 'max_tokens',
  max_tokens: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
  // vLLM's word for an answer that it cut because it went round in circles.
  repetition: 'end_turn',
  eos: 'end_turn',
  eos_token: 'end_turn',
  stop_sequence: 'stop_sequence',
};
/** The judge's to see: what they end is no answer. */
const BROKEN_OFF: ReadonlySet<unknown> = new Set(['abort', 'aborted', 'cancelled', 'error']);

/** Anthropic has a closed list of reasons: one that it has no word for is an end like any other. */
function stopOf(choice: Json, content: readonly Json[]): Json {
  const { finish_reason: reason, stop_reason: matched } = choice;
  if (BROKEN_OFF.has(reason)) return { stop_reason: reason, stop_sequence: null };
  const told = STOP_REASONS[String(reason)] ?? 'end_turn';
  const ended = told !== 'max_tokens' && told !== 'refusal';
  if (ended && content.some(({ type }) => type === 'tool_use'))
    return { stop_reason: 'tool_use', stop_sequence: null };
  // vLLM names the stop string that ended it; a number is a token id.
  if (ended && typeof matched === 'string') return { stop_reason: 'stop_sequence', stop_sequence: matched };
  return { stop_reason: told === 'tool_use' ? 'end_turn' : told, stop_sequence: null };
}

/** Anthropic counts what was read from and written to the cache beside `input_tokens`, OpenAI inside the prompt. */
function usageOf(usage: unknown): Json {
  const count = (object: unknown, key: string): number => {
    const value = isJsonObject(object) ? exactNumber(object[key]) : null;
    return value === null ? 0 : Math.max(0, Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER));
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
