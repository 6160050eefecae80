export * from './http-fault-proxy.js';
export * from './tcp-fault-proxy.js';
