export * from './http-fault-proxy.js';
export * from './postgres-cut-proxy.js';
export * from './tcp-fault-proxy.js';
