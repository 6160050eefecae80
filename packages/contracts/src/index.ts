/** The words, free of zod and of I/O. Wire formats stand in the subpaths `native`, `openai`, `runner-protocol` and `jsonl`. */
export * from './determined.js';
export * from './endpoints.js';
export * from './error-codes.js';
export * from './exact-json.js';
export * from './failures.js';
export * from './ids.js';
export * from './lifecycle.js';
export * from './limits.js';
export * from './masks.js';
export * from './openai-error.js';
export * from './result-lines.js';
export * from './segment-line.js';
