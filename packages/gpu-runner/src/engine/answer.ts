import { isExactNumber, parseExactJson, type SegmentHeader } from '@batch-infer/contracts';

export type Usage = NonNullable<SegmentHeader['u']>;

export type Json = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const parseJsonObject = (text: string): Json | null => objectOf(text, JSON.parse);

/** The same for what is written again: its numbers stay as they were written, see `parseExactJson`. */
export const parseExactObject = (text: string): Json | null => objectOf(text, parseExactJson);

function objectOf(text: string, parse: (text: string) => unknown): Json | null {
  try {
    const value = parse(text);
    return isJsonObject(value) && !isExactNumber(value) ? value : null;
  } catch {
    return null;
  }
}

const numberIn = (object: unknown, key: string): number | null => {
  const value = isJsonObject(object) ? object[key] : undefined;
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
};

/**
 * Tokens of an answer: chat and text completions and embeddings count `prompt_tokens`, responses `input_tokens`, and
 * Anthropic's messages count cached input beside `input_tokens` instead of inside it.
 */
export function usageOf(answer: Json): Usage | undefined {
  const usage = answer.usage;
  if (!isJsonObject(usage)) return undefined;
  const prompt = numberIn(usage, 'prompt_tokens');
  if (prompt !== null) {
    const cached = numberIn(usage.prompt_tokens_details, 'cached_tokens') ?? 0;
    const reasoning = numberIn(usage.completion_tokens_details, 'reasoning_tokens') ?? 0;
    return [prompt, cached, numberIn(usage, 'completion_tokens') ?? 0, reasoning];
  }
  const input = numberIn(usage, 'input_tokens');
  if (input === null) return undefined;
  const read = numberIn(usage, 'cache_read_input_tokens') ?? 0;
  const written = numberIn(usage, 'cache_creation_input_tokens') ?? 0;
  const cached = numberIn(usage.input_tokens_details, 'cached_tokens') ?? read;
  const reasoning = numberIn(usage.output_tokens_details, 'reasoning_tokens') ?? 0;
  return [input + read + written, cached, numberIn(usage, 'output_tokens') ?? 0, reasoning];
}

/** How an answer with status 200 ended. */
export type Ending = 'complete' | 'aborted' | 'failed' | 'unknown';

const COMPLETE_REASONS: ReadonlySet<unknown> = new Set([
  // OpenAI's, and `repetition` of vLLM.
  ...['stop', 'length', 'tool_calls', 'function_call', 'content_filter', 'repetition'],
  // Anthropic's.
  ...[
    'end_turn',
    'max_tokens',
    'stop_sequence',
    'tool_use',
    'pause_turn',
    'refusal',
    'model_context_window_exceeded',
  ],
  // Text Generation Inference's.
  ...['eos_token', 'eos'],
]);

function endingOfReason(reason: unknown): Ending {
  if (reason === undefined || COMPLETE_REASONS.has(reason)) return 'complete';
  if (reason === 'abort' || reason === 'aborted' || reason === 'cancelled') return 'aborted';
  return reason === 'error' ? 'failed' : 'unknown';
}

const WORST_FIRST: readonly Ending[] = ['aborted', 'failed', 'unknown'];

function endingOfChoices(choices: unknown): Ending {
  if (!Array.isArray(choices) || choices.length === 0) return 'unknown';
  const endings = choices.map((choice) =>
    isJsonObject(choice) ? endingOfReason(choice.finish_reason) : 'unknown',
  );
  return WORST_FIRST.find((ending) => endings.includes(ending)) ?? 'complete';
}

const RESPONSE_ENDINGS: Readonly<Record<string, Ending>> = {
  completed: 'complete',
  incomplete: 'complete',
  failed: 'failed',
  cancelled: 'aborted',
};

/** Judges the shape of an answer by the endpoint it came from; endpoints that we do not know may answer any object. */
export function endingOf(path: string, answer: Json): Ending {
  switch (path) {
    case '/v1/chat/completions':
    case '/v1/completions':
      return endingOfChoices(answer.choices);
    case '/v1/messages':
      return Array.isArray(answer.content) ? endingOfReason(answer.stop_reason) : 'unknown';
    case '/v1/responses':
      return Array.isArray(answer.output)
        ? (RESPONSE_ENDINGS[String(answer.status)] ?? 'unknown')
        : 'unknown';
    case '/v1/embeddings':
      return Array.isArray(answer.data) && answer.data.length > 0 ? 'complete' : 'unknown';
    default:
      return 'complete';
  }
}
