export { EXPLAINED_BYTES, explainInput } from './jsonl/explain-input.js';
export { type JsonBounds, type JsonExcess, JsonMeter } from './jsonl/json-measure.js';
export { findJsonFault, type JsonFault } from './jsonl/json-text.js';
export { findForbiddenMedia, type MediaHosts } from './jsonl/media.js';
export { countMembers, findRepeatedKey } from './jsonl/repeated-key.js';
export { isBlank, JsonlScanner } from './jsonl/scanner.js';
export * from './jsonl/types.js';
