export * from './broken-invariant.js';
export * from './outcome-checker.js';
export * from './result-line.js';
export * from './sameness-checker.js';
