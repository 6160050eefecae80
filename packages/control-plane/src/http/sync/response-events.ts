import { toNamedEvent as event } from '../events/server-sent-events.js';
import { type JsonObject, listOf } from './json-object.js';

/** How a part of an output item is told: its field, and the events that begin, fill and end it. */
interface PartEvents {
  readonly field: string;
  readonly added: string;
  readonly text: string;
  readonly done: string;
  readonly index: 'content_index' | 'summary_index';
}

const CONTENT = { added: 'content_part.added', done: 'content_part.done', index: 'content_index' } as const;
const PARTS: Readonly<Record<string, PartEvents>> = {
  output_text: { ...CONTENT, field: 'text', text: 'output_text' },
  refusal: { ...CONTENT, field: 'refusal', text: 'refusal' },
  reasoning_text: { ...CONTENT, field: 'text', text: 'reasoning_text' },
  summary_text: {
    ...{ field: 'text', added: 'reasoning_summary_part.added', text: 'reasoning_summary_text' },
    ...{ done: 'reasoning_summary_part.done', index: 'summary_index' },
  },
};

/** The last event says how the response ended. */
const ENDS: Readonly<Record<string, string>> = {
  incomplete: 'response.incomplete',
  failed: 'response.failed',
};

/** A whole response of OpenAI's API as the events of its stream: each text and each call in one delta. */
export function toResponseEvents(response: JsonObject): string[] {
  const begun = { ...response, status: 'in_progress', output: [], usage: null };
  const events = [
    ['response.created', { response: begun }],
    ['response.in_progress', { response: begun }],
    ...listOf(response.output).flatMap(toItemEvents),
    [ENDS[String(response.status)] ?? 'response.completed', { response }],
  ] as const;
  return events.map(([type, fields], sequence) => event(type, { sequence_number: sequence, ...fields }));
}

/** An error that comes when the stream has begun: as the API's own event, and as SDKs read it. */
export function toResponseError(body: unknown): string {
  const { error } = (body ?? {}) as { error?: JsonObject };
  const { code = null, message = '', param = null } = error ?? {};
  return event('error', { code, message, param, sequence_number: 0, error });
}

type Told = readonly [type: string, fields: JsonObject];

function toItemEvents(item: JsonObject, index: number): Told[] {
  const at = { output_index: index };
  const inside = { ...at, item_id: item.id };
  const { begun, events } = insideOf(item, inside);
  return [
    ['response.output_item.added', { ...at, item: begun }],
    ...events,
    ['response.output_item.done', { ...at, item }],
  ];
}

/** An item as it begins, and what fills it. Items of other kinds come whole. */
function insideOf(item: JsonObject, at: JsonObject): { begun: JsonObject; events: Told[] } {
  const begun = { ...item, status: 'in_progress' };
  switch (item.type) {
    case 'message':
      return { begun: { ...begun, content: [] }, events: partsOf(item.content, at) };
    case 'reasoning':
      return {
        begun: { ...begun, summary: [], ...(item.content === undefined ? {} : { content: [] }) },
        events: [...partsOf(item.summary, at), ...partsOf(item.content, at)],
      };
    case 'function_call': {
      const { arguments: said, name } = item;
      const text = typeof said === 'string' ? said : JSON.stringify(said ?? {});
      return {
        begun: { ...begun, arguments: '' },
        events: [
          ['response.function_call_arguments.delta', { ...at, delta: text }],
          ['response.function_call_arguments.done', { ...at, name, arguments: text }],
        ],
      };
    }
    default:
      return { begun: item, events: [] };
  }
}

function partsOf(parts: unknown, item: JsonObject): Told[] {
  return listOf(parts).flatMap((part, index): Told[] => {
    const events = PARTS[String(part.type)];
    if (events === undefined) {
      const at = { ...item, content_index: index, part };
      return [
        ['response.content_part.added', at],
        ['response.content_part.done', at],
      ];
    }
    const at = { ...item, [events.index]: index };
    const text = part[events.field] ?? '';
    const logprobs = part.type === 'output_text' ? { logprobs: part.logprobs ?? [] } : {};
    return [
      [`response.${events.added}`, { ...at, part: { ...part, [events.field]: '' } }],
      [`response.${events.text}.delta`, { ...at, delta: text, ...logprobs }],
      [`response.${events.text}.done`, { ...at, [events.field]: text, ...logprobs }],
      [`response.${events.done}`, { ...at, part }],
    ];
  });
}
