export { isBlank, JsonlScanner } from './jsonl/scanner.js';
export * from './jsonl/types.js';
