import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { readUsage, type Usage } from './process-usage.ts';

export interface PartOptions {
  readonly name: string;
  /** JavaScript file, run by this Node. */
  readonly file: string;
  readonly parameters: readonly string[];
  /** The line of stderr that says that it can take work. */
  readonly ready: RegExp;
  readonly nodeParameters?: readonly string[];
  /** Beside the environment of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const KEPT_LINES = 20;

/** None may outlive us, however we end. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

/** A program under measurement, in its own process. */
export class Part {
  readonly name: string;
  readonly #child: ChildProcess;
  /** The ready line, matched. */
  readonly readyMatch: RegExpExecArray;

  private constructor(name: string, child: ChildProcess, readyMatch: RegExpExecArray) {
    this.name = name;
    this.#child = child;
    this.readyMatch = readyMatch;
  }

  /** @throws with its last words when it ends before it is ready. */
  static async start(options: PartOptions): Promise<Part> {
    const child = spawn(
      process.execPath,
      [...(options.nodeParameters ?? []), options.file, ...options.parameters],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...options.environment } },
    );
    running.add(child);
    child.once('close', () => running.delete(child));
    if (child.stderr === null) throw new Error(`${options.name} has no stderr`);
    const lines: string[] = [];
    const match = await new Promise<RegExpExecArray>((resolve, reject) => {
      const fail = (why: string) =>
        reject(new Error(`${options.name} ${why}:\n${lines.slice(-KEPT_LINES).join('\n')}`));
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        fail(`was not ready within ${READY_TIMEOUT_MS} ms`);
      }, READY_TIMEOUT_MS);
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        fail(`ended (${code ?? signal}) before it was ready`);
      });
      if (child.stderr !== null) {
        // Read to the end of its life: a full pipe would stop it.
        createInterface({ input: child.stderr }).on('line', (line) => {
          lines.push(line);
          if (lines.length > KEPT_LINES) lines.shift();
          const found = options.ready.exec(line);
          if (found === null) return;
          clearTimeout(timer);
          resolve(found);
        });
      }
    });
    return new Part(options.name, child, match);
  }

  usage(): Usage {
    if (this.#child.pid === undefined) throw new Error(`${this.name} has no process`);
    return readUsage(this.#child.pid);
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM, and SIGKILL when it does not listen. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#end('SIGTERM');
    clearTimeout(timer);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    await ended;
  }
}
