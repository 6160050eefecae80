import { isIPv6 } from 'node:net';
import type { ControlPlaneConfig } from '../config.js';
import { BootError } from './boot-error.js';

/** Whether an address can be reached from this machine only. */
const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host) || host === '::ffff:127.0.0.1';

/** @throws BootError when others could reach a server that asks nobody for a key. */
export function refuseOpenBind(params: { host: string; hasKeys: boolean }): void {
  if (params.hasKeys || isLoopback(params.host)) return;
  throw new BootError(
    `Refusing to listen on ${params.host} without API keys: everybody on the network could run jobs and read results. Make a key with "batch-infer keys create" for the same --data or --database-url, give a file of keys with --api-keys-file, or listen on 127.0.0.1.`,
  );
}

/** The origin under which a bound address is reached from this machine. */
export function originOf(host: string, port: number): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}

/** A failed `listen` in words. */
export function listenError(error: unknown, config: Pick<ControlPlaneConfig, 'host' | 'port'>): Error {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  const where = `${config.host}:${config.port}`;
  const details = { cause: error };
  if (code === 'EADDRINUSE') {
    return new BootError(
      `Port ${config.port} on ${config.host} is taken. If a batch-infer server listens there, use it; else choose another port with --port (0 picks a free one).`,
      details,
    );
  }
  if (code === 'EACCES') {
    return new BootError(
      `Listening on ${where} is not permitted. Choose a port above 1023 with --port.`,
      details,
    );
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new BootError(
      `${config.host} is no address of this machine. Choose another one with --host.`,
      details,
    );
  }
  return error instanceof Error ? error : new Error(String(error));
}
