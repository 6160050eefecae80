export { findJsonFault, isDeeperThan, type JsonFault, nestsDeeperThan } from './jsonl/json-text.js';
export { findForbiddenMedia, type MediaHosts } from './jsonl/media.js';
export { isBlank, JsonlScanner } from './jsonl/scanner.js';
export * from './jsonl/types.js';
