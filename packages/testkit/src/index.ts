export * from './engine-sim/index.js';
