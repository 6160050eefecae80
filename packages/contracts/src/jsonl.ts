export * from './jsonl/types.js';
