import { isJsonObject, type Json } from '../answer.js';
import { blocksOf, Refusal, textOfBlocks, toUserParts } from './message-blocks.js';

/** An Anthropic request as chat completions, or what in it no chat completion can say. */
export type ChatRequest =
  | { readonly ok: true; readonly body: Json }
  | { readonly ok: false; readonly param: string; readonly message: string };

/** Said otherwise in chat completions; every other key goes through as it is, engines' own parameters among them. */
const TRANSLATED: ReadonlySet<string> = new Set([
  ...['system', 'messages', 'stop_sequences', 'tools', 'tool_choice', 'metadata', 'output_config', 'stream'],
  // Hints about Anthropic's own service: nothing of the answer depends on them.
  ...['cache_control', 'service_tier', 'inference_geo', 'thinking'],
]);
/** What only Anthropic's service can do. */
const UNTRANSLATABLE = ['mcp_servers', 'container', 'context_management'];

/** Translates the body of `/v1/messages` to one of `/v1/chat/completions`. Pure. */
export function toChatRequest(request: Json): ChatRequest {
  try {
    return { ok: true, body: translate(request) };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, param: error.param, message: error.message };
    throw error;
  }
}

function translate(request: Json): Json {
  for (const key of UNTRANSLATABLE) {
    if (request[key] !== undefined && request[key] !== null)
      throw new Refusal(key, 'the engine serves chat completions only, which cannot do this');
  }
  const passed = Object.entries(request).filter(([key]) => !TRANSLATED.has(key));
  return {
    ...Object.fromEntries(passed),
    messages: [...systemMessages(request.system), ...chatMessages(request.messages)],
    ...(Array.isArray(request.stop_sequences) && request.stop_sequences.length > 0
      ? { stop: request.stop_sequences }
      : {}),
    ...toolsOf(request.tools),
    ...toolChoiceOf(request.tool_choice),
    ...outputOf(request.output_config),
    ...userOf(request.metadata),
  };
}

function systemMessages(system: unknown): Json[] {
  if (system === undefined || system === null) return [];
  const text = typeof system === 'string' ? system : textOfBlocks(blocksOf(system, 'system'), 'system');
  return text === '' ? [] : [{ role: 'system', content: text }];
}

function chatMessages(messages: unknown): Json[] {
  if (!Array.isArray(messages)) throw new Refusal('messages', 'must be an array');
  return messages.flatMap((message: unknown, index) => {
    const path = `messages.${index}`;
    if (!isJsonObject(message)) throw new Refusal(path, 'must be an object');
    const { role, content } = message;
    if (typeof content === 'string') return [{ role, content }];
    const blocks = blocksOf(content, `${path}.content`);
    if (role === 'assistant') return [assistantMessage(blocks, `${path}.content`)];
    if (role === 'user') return userMessages(blocks, `${path}.content`);
    return [{ role, content: textOfBlocks(blocks, `${path}.content`) }];
  });
}

/** Results of tools are messages of their own, and come before what the user says beside them. */
function userMessages(blocks: readonly Json[], path: string): Json[] {
  const results: Json[] = [];
  const parts: Json[] = [];
  blocks.forEach((block, index) => {
    const at = `${path}.${index}`;
    if (block.type !== 'tool_result') {
      parts.push(...toUserParts(block, at));
      return;
    }
    const { content, tool_use_id: id } = block;
    const text =
      typeof content === 'string' || content === undefined || content === null
        ? (content ?? '')
        : textOfBlocks(blocksOf(content, `${at}.content`), `${at}.content`);
    results.push({
      role: 'tool',
      tool_call_id: id,
      content: block.is_error === true ? `Error: ${text}` : text,
    });
  });
  if (parts.length === 0) return results;
  const [only] = parts;
  const content = parts.length === 1 && only?.type === 'text' ? only.text : parts;
  return [...results, { role: 'user', content }];
}

/** Earlier thinking is left out: models do not read it back, and chat completions have no place for it. */
function assistantMessage(blocks: readonly Json[], path: string): Json {
  const texts: string[] = [];
  const calls: Json[] = [];
  blocks.forEach((block, index) => {
    if (block.type === 'text') texts.push(String(block.text));
    else if (block.type === 'tool_use') {
      calls.push({
        id: block.id,
        type: 'function',
        function: { name: block.name, arguments: JSON.stringify(block.input ?? {}) },
      });
    } else if (block.type !== 'thinking' && block.type !== 'redacted_thinking') {
      throw new Refusal(
        `${path}.${index}`,
        `content of the type ${JSON.stringify(block.type)} cannot be run`,
      );
    }
  });
  return {
    role: 'assistant',
    content: texts.length === 0 && calls.length > 0 ? null : texts.join(''),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
}

function toolsOf(tools: unknown): Json {
  if (!Array.isArray(tools) || tools.length === 0) return {};
  return {
    tools: tools.map((tool: unknown, index) => {
      if (!isJsonObject(tool)) throw new Refusal(`tools.${index}`, 'must be an object');
      if (tool.type !== undefined && tool.type !== null && tool.type !== 'custom')
        throw new Refusal(
          `tools.${index}`,
          `a tool of the type ${JSON.stringify(tool.type)} runs at Anthropic only`,
        );
      return {
        type: 'function',
        function: {
          name: tool.name,
          ...(typeof tool.description === 'string' ? { description: tool.description } : {}),
          parameters: tool.input_schema ?? { type: 'object', properties: {} },
          ...(typeof tool.strict === 'boolean' ? { strict: tool.strict } : {}),
        },
      };
    }),
  };
}

const TOOL_CHOICES: Readonly<Record<string, string>> = { auto: 'auto', any: 'required', none: 'none' };

function toolChoiceOf(choice: unknown): Json {
  if (!isJsonObject(choice)) return {};
  const { type } = choice;
  const translated =
    type === 'tool' ? { type: 'function', function: { name: choice.name } } : TOOL_CHOICES[String(type)];
  if (translated === undefined)
    throw new Refusal('tool_choice', `the type ${JSON.stringify(type)} is unknown`);
  const parallel = choice.disable_parallel_tool_use === true ? { parallel_tool_calls: false } : {};
  return { tool_choice: translated, ...parallel };
}

/** Structured output, and how hard to think. */
function outputOf(config: unknown): Json {
  if (!isJsonObject(config)) return {};
  const { format, effort } = config;
  return {
    ...(typeof effort === 'string' ? { reasoning_effort: effort } : {}),
    ...(isJsonObject(format) && format.type === 'json_schema'
      ? {
          response_format: {
            type: 'json_schema',
            json_schema: { name: 'output', schema: format.schema, strict: true },
          },
        }
      : {}),
  };
}

const userOf = (metadata: unknown): Json =>
  isJsonObject(metadata) && typeof metadata.user_id === 'string' ? { user: metadata.user_id } : {};
