export { EXPLAINED_BYTES, explainInput } from './jsonl/explain-input.js';
export { type JsonBounds, type JsonExcess, JsonMeter } from './jsonl/json-measure.js';
export { type ParsedJson, parseJsonSteps } from './jsonl/json-steps.js';
export { findJsonFault, type JsonFault } from './jsonl/json-text.js';
export { findForbiddenMedia, type MediaHosts } from './jsonl/media.js';
export { countMembers, findRepeatedKey, searchRepeatedKeySteps } from './jsonl/repeated-key.js';
export { isBlank, JsonlScanner } from './jsonl/scanner.js';
export { allSteps, LONG_TEXT_BYTES, STEP_BYTES, type Steps } from './jsonl/steps.js';
export * from './jsonl/types.js';
