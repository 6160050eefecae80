export * from './faults.js';
export { echoText } from './generation-request.js';
export { StepModel } from './model.js';
export * from './model-types.js';
export * from './prompt.js';
export * from './random.js';
export * from './server.js';
export * from './types.js';
export * from './virtual-time.js';
