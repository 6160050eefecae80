import {
  isExactNumber,
  isTokenCount,
  LIMITS,
  parseExactJson,
  type TokenCounts,
} from '@batch-infer/contracts';

export type Usage = TokenCounts;

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

/** A count that counts something; whatever else an engine writes there is left out, and stands in nobody's way. */
const countIn = (object: unknown, key: string): number | null => {
  const value = isJsonObject(object) ? object[key] : undefined;
  return isTokenCount(value) ? value : null;
};

/**
 * Tokens of an answer: chat and text completions and embeddings count `prompt_tokens`, responses `input_tokens`, and
 * Anthropic's messages count cached input beside `input_tokens` instead of inside it. `undefined` where nothing is
 * counted; a count that is no whole number of tokens is 0.
 */
export function usageOf(answer: Json): Usage | undefined {
  const { usage } = answer;
  if (!isJsonObject(usage)) return undefined;
  const input = countIn(usage, 'prompt_tokens') ?? inputOf(usage);
  const output = countIn(usage, 'completion_tokens') ?? countIn(usage, 'output_tokens');
  if (input === null && output === null) return undefined;
  const cached =
    countIn(usage.prompt_tokens_details, 'cached_tokens') ??
    countIn(usage.input_tokens_details, 'cached_tokens') ??
    countIn(usage, 'cache_read_input_tokens');
  const reasoning =
    countIn(usage.completion_tokens_details, 'reasoning_tokens') ??
    countIn(usage.output_tokens_details, 'reasoning_tokens');
  return [input ?? 0, cached ?? 0, output ?? 0, reasoning ?? 0];
}

function inputOf(usage: Json): number | null {
  const input = countIn(usage, 'input_tokens');
  if (input === null) return null;
  const read = countIn(usage, 'cache_read_input_tokens') ?? 0;
  const written = countIn(usage, 'cache_creation_input_tokens') ?? 0;
  return Math.min(input + read + written, LIMITS.answerTokens);
}

/** How an answer with status 200 ended. */
export type Ending = 'complete' | 'aborted' | 'failed' | 'unknown';

/** Why a generation ended, as engines say it; `none`: it does not say; `other`: in a word that nobody lists. */
export const FINISH_REASONS = [
  // OpenAI's, and `repetition` of vLLM.
  ...['stop', 'length', 'tool_calls', 'function_call', 'content_filter', 'repetition'],
  // Anthropic's.
  ...['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'pause_turn', 'refusal'],
  'model_context_window_exceeded',
  // Text Generation Inference's, and those of a response.
  ...['eos_token', 'eos', 'completed', 'incomplete'],
  ...['abort', 'aborted', 'cancelled', 'error', 'none', 'other'],
] as const;
export type FinishReason = (typeof FINISH_REASONS)[number];

const LISTED: ReadonlySet<unknown> = new Set(FINISH_REASONS);
const isListed = (reason: unknown): reason is FinishReason => LISTED.has(reason);

const labelOf = (reason: unknown): FinishReason => {
  if (reason === undefined || reason === null) return 'none';
  return isListed(reason) ? reason : 'other';
};

/** Only what is known to be no end makes an answer no result: an engine may have words that nobody lists. */
function endingOfReason(reason: unknown): Ending {
  if (reason === 'abort' || reason === 'aborted' || reason === 'cancelled') return 'aborted';
  return reason === 'error' ? 'failed' : 'complete';
}

const WORST_FIRST: readonly Ending[] = ['aborted', 'failed', 'unknown'];

function endingOfChoices(choices: unknown): Ending {
  if (!Array.isArray(choices) || choices.length === 0) return 'unknown';
  const endings = choices.map((choice) =>
    isJsonObject(choice) ? endingOfReason(choice.finish_reason) : 'unknown',
  );
  return WORST_FIRST.find((ending) => endings.includes(ending)) ?? 'complete';
}

function endingOfResponse(status: unknown): Ending {
  if (status === 'failed') return 'failed';
  if (status === 'cancelled') return 'aborted';
  // These say that there is no answer yet.
  return status === 'in_progress' || status === 'queued' ? 'unknown' : 'complete';
}

/** Judges the shape of an answer by the endpoint it came from; endpoints that we do not know may answer any object. */
export function endingOf(path: string, answer: Json): Ending {
  switch (path) {
    case '/v1/chat/completions':
    case '/v1/completions':
      return endingOfChoices(answer.choices);
    case '/v1/messages':
      return Array.isArray(answer.content) ? endingOfReason(answer.stop_reason) : 'unknown';
    case '/v1/responses':
      return Array.isArray(answer.output) ? endingOfResponse(answer.status) : 'unknown';
    case '/v1/embeddings':
      return Array.isArray(answer.data) && answer.data.length > 0 ? 'complete' : 'unknown';
    default:
      return 'complete';
  }
}

/** Why an answer ended, for those who count; of several choices the first. `null` where an endpoint has no such word. */
export function finishReasonOf(path: string, answer: Json): FinishReason | null {
  switch (path) {
    case '/v1/chat/completions':
    case '/v1/completions': {
      const choice: unknown = Array.isArray(answer.choices) ? answer.choices[0] : null;
      return labelOf(isJsonObject(choice) ? choice.finish_reason : undefined);
    }
    case '/v1/messages':
      return labelOf(answer.stop_reason);
    case '/v1/responses':
      return labelOf(answer.status);
    default:
      return null;
  }
}
