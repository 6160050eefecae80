/** The batch-infer server. */

export { type NewFileKey, newFileKey } from './access/file-key.js';
export { createApiKey, type OfflineKeys, openApiKeys } from './access/open-access.js';
export { BootError } from './boot/boot-error.js';
export { ConfigError, type ControlPlaneConfig, parseControlPlaneConfig } from './config.js';
export { DomainError } from './errors.js';
export { type ControlPlane, startControlPlane } from './start-control-plane.js';
export { createLogger, type Logger, silentLogger } from './telemetry/logger.js';
