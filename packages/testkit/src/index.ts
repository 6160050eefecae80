export * from './checker/index.js';
export * from './engine-sim/index.js';
export * from './fault-proxy/index.js';
