import { toNamedEvent as event } from '../events/server-sent-events.js';
import { type JsonObject, listOf } from './json-object.js';

/** A whole message of Anthropic's API as the events of its stream: each block in one delta. */
export function toMessageEvents(message: JsonObject): string[] {
  const { content, stop_reason: stopReason, stop_sequence: stopSequence, usage, ...head } = message;
  const counted = (usage ?? {}) as JsonObject;
  return [
    event('message_start', {
      message: {
        ...head,
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 0, ...counted, output_tokens: 0 },
      },
    }),
    ...listOf(content).flatMap(toBlockEvents),
    event('message_delta', {
      delta: { stop_reason: stopReason ?? null, stop_sequence: stopSequence ?? null },
      usage: { output_tokens: 0, ...counted },
    }),
    event('message_stop', {}),
  ];
}

function toBlockEvents(block: JsonObject, index: number): string[] {
  const { start, deltas } = partsOf(block);
  return [
    event('content_block_start', { index, content_block: start }),
    ...deltas.map((delta) => event('content_block_delta', { index, delta })),
    event('content_block_stop', { index }),
  ];
}

/** A block without what deltas bring, and these deltas. Blocks of other kinds come whole in their start. */
function partsOf(block: JsonObject): { start: JsonObject; deltas: JsonObject[] } {
  switch (block.type) {
    case 'text':
      return { start: { ...block, text: '' }, deltas: [{ type: 'text_delta', text: block.text }] };
    case 'thinking':
      return {
        start: { ...block, thinking: '', signature: '' },
        deltas: [
          { type: 'thinking_delta', thinking: block.thinking },
          ...(typeof block.signature === 'string' && block.signature !== ''
            ? [{ type: 'signature_delta', signature: block.signature }]
            : []),
        ],
      };
    case 'tool_use':
      return {
        start: { ...block, input: {} },
        deltas: [{ type: 'input_json_delta', partial_json: JSON.stringify(block.input ?? {}) }],
      };
    default:
      return { start: block, deltas: [] };
  }
}
