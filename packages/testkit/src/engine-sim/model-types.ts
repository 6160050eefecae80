/** The engine that the model stands for. The defaults are vLLM's for offline work on one large GPU. */
export interface ModelOptions {
  /** `--max-num-batched-tokens`: tokens computed in one step, prefill and decode together. Default 8192. */
  readonly maxNumBatchedTokens: number;
  /** `--max-num-seqs`: sequences in one step. Default 256. */
  readonly maxNumSeqs: number;
  /** KV memory in blocks. Default 16384 (262,144 tokens at 16 tokens a block). */
  readonly numGpuBlocks: number;
  /** Tokens in a block, also the grain of the prefix cache. Default 16; vLLM on CPU has 128. */
  readonly blockSize: number;
  /** `--enable-prefix-caching`. Default true. */
  readonly prefixCaching: boolean;
  /** `--scheduling-policy`. `priority`: lower numbers first, then order of arrival. Default `fcfs`. */
  readonly schedulingPolicy: 'fcfs' | 'priority';
  readonly stepTime: StepTime;
  /** Step times vary by this share up and down. Default 0. */
  readonly jitter: number;
  /** Seed of everything random. Default 1. */
  readonly seed: number;
}

/**
 * Time of one step in milliseconds: max(floor, base + tokens + sequences + context), each with its own constant. The
 * straight line is the work that grows with what a step computes; the floor is what a step takes however little that
 * is, because all weights are read once (the two roofs of the roofline model: memory and arithmetic). On an engine that
 * reads its weights quickly the floor lies under the line, and can be left out.
 */
export interface StepTime {
  readonly baseMs: number;
  /** For each token computed in the step. */
  readonly perTokenMs: number;
  /** For each sequence in the step. */
  readonly perSequenceMs: number;
  /** For each token of context that the step's sequences attend to. */
  readonly perContextTokenMs: number;
  /** No step is shorter. Default 0. */
  readonly floorMs?: number;
}

export const DEFAULT_STEP_TIME: StepTime = {
  baseMs: 8,
  perTokenMs: 0.04,
  perSequenceMs: 0.02,
  perContextTokenMs: 0.00002,
};

export const DEFAULT_MODEL_OPTIONS: ModelOptions = {
  maxNumBatchedTokens: 8192,
  maxNumSeqs: 256,
  numGpuBlocks: 16_384,
  blockSize: 16,
  prefixCaching: true,
  schedulingPolicy: 'fcfs',
  stepTime: DEFAULT_STEP_TIME,
  jitter: 0,
  seed: 1,
};

/** One request as the scheduler sees it. */
export interface SequenceRequest {
  readonly id: string;
  readonly promptTokens: number;
  /** Tokens that will be generated. 0 for embeddings: the sequence ends with its prefill. */
  readonly outputTokens: number;
  /** Chained hash of every full block of the prompt, see `promptBlockHashes`. Default none: nothing is shared. */
  readonly blockHashes?: readonly number[];
  /** Used with `schedulingPolicy: 'priority'` only. Default 0. */
  readonly priority?: number;
}

export interface FinishedSequence {
  readonly id: string;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly preemptions: number;
  readonly submittedMs: number;
  /** When it was first scheduled. */
  readonly startedMs: number;
  readonly firstTokenMs: number;
  readonly finishedMs: number;
}

export interface StepResult {
  readonly step: number;
  readonly startedMs: number;
  readonly durationMs: number;
  readonly scheduledTokens: number;
  readonly sequences: number;
  readonly finished: readonly FinishedSequence[];
}

/** What `/metrics` is made of. */
export interface ModelGauges {
  readonly running: number;
  readonly waiting: number;
  /** 0 to 1. */
  readonly kvCacheUsage: number;
  readonly preemptions: number;
  readonly prefixCacheQueries: number;
  readonly prefixCacheHits: number;
  readonly promptTokens: number;
  readonly generationTokens: number;
}

/** What the model did, in order. Two runs with one seed give equal lists. */
export type ModelEvent =
  | { readonly kind: 'submit'; readonly atMs: number; readonly id: string }
  | { readonly kind: 'admit'; readonly atMs: number; readonly id: string; readonly cachedTokens: number }
  | { readonly kind: 'preempt'; readonly atMs: number; readonly id: string }
  | { readonly kind: 'abort'; readonly atMs: number; readonly id: string }
  | { readonly kind: 'finish'; readonly atMs: number; readonly id: string }
  | {
      readonly kind: 'step';
      readonly atMs: number;
      readonly durationMs: number;
      readonly tokens: number;
      readonly sequences: number;
      readonly waiting: number;
    };

/** One line of text for an event, for logs that are compared byte by byte. */
export function formatModelEvent(event: ModelEvent): string {
  const { kind, atMs, ...rest } = event;
  const fields = Object.entries(rest).map(
    ([name, value]) => `${name}=${typeof value === 'number' ? round(value) : value}`,
  );
  return `${round(atMs)} ${kind} ${fields.join(' ')}`;
}

function round(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}
