/** The runner: claims shards and keeps OpenAI-compatible engines full. Holds no database or bucket credentials. */
export { parseRunnerConfig, type RunnerConfig, type RunnerOptions } from './config.js';
export { printableCommandLine } from './engine/preset-command.js';
export { RunnerError, type RunnerErrorCode } from './errors.js';
export { createLogger, type RunnerLogger } from './logger.js';
export { type Runner, type RunnerDependencies, startRunner } from './runner.js';
