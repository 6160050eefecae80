/** The part of the client library that needs a file system: Node, Bun and Deno. */
export { contentKey } from './content-key.js';
export { openFile } from './path-source.js';
export { type FileReport, type ValidateOptions, validateFile } from './validate-file.js';
