import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EngineSim, type EngineSimOptions, startEngineSim } from '@batch-infer/testkit';
import { Client, MODEL } from './client.js';
import { launchRunner, launchServe, type Program } from './program.js';

export * from './client.js';
export * from './program.js';
export * from './seeded-random.js';
export * from './settings.js';
export * from './wait.js';

/** Short times, so that what takes half a minute in production shows in seconds. */
export const LEASE_MS = 3_000;

export const QUICK: Readonly<Record<string, string>> = {
  BATCH_INFER_LEASE_MS: String(LEASE_MS),
  BATCH_INFER_RENEW_INTERVAL_MS: '500',
  BATCH_INFER_SESSION_GRACE_MS: '500',
  BATCH_INFER_OFFER_TTL_MS: '1000',
  BATCH_INFER_SWEEP_INTERVAL_MS: '200',
  BATCH_INFER_STOP_GRACE_MS: '1000',
  BATCH_INFER_LOG_LEVEL: 'warn',
};

/** A control plane, its runners and their engine, each a process; the engine lives here where its log survives it. */
export class ProofStack {
  readonly folder = mkdtempSync(join(tmpdir(), 'batch-infer-proof-'));
  readonly #programs: Program[] = [];
  readonly #engines: EngineSim[] = [];
  #port: number | null = null;

  /** Starts the control plane on the stack's data folder, after a crash on the same port as before. */
  async serve(environment: Readonly<Record<string, string>> = {}): Promise<Program> {
    this.#port ??= await freePort();
    const parameters = ['--data', join(this.folder, 'data'), '--port', String(this.#port)];
    return this.adopt(await launchServe(parameters, { ...QUICK, ...environment }));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get client(): Client {
    return new Client(this.url);
  }

  async runner(engine: { readonly url: string }, parameters: readonly string[] = []): Promise<Program> {
    const standard = ['--server', this.url, '--engine-url', engine.url, '--model', MODEL];
    return this.adopt(await launchRunner([...standard, ...parameters], QUICK));
  }

  async engine(options: EngineSimOptions = {}): Promise<EngineSim> {
    const engine = await startEngineSim({ models: [MODEL], ...options });
    this.#engines.push(engine);
    return engine;
  }

  /** Ends with the stack. */
  adopt(program: Program): Program {
    this.#programs.push(program);
    return program;
  }

  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.crash()));
    await Promise.all(this.#engines.map((engine) => engine.close()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * A free port that the system does not hand out to outgoing connections, so that it is still free when a crashed
 * server takes it again.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port from 20000 to 32000');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
