import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const cliFile = fileURLToPath(new URL('../../packages/cli/bin/batch-infer.js', import.meta.url));
const KEPT_TALK = 20_000;

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

export interface CliOptions {
  readonly words: readonly string[];
  readonly folder: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly readyDeadlineMs: number;
}

/** One `batch-infer` command that runs until it is told to stop. */
export class CliProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #talk = '';

  /** Resolves when it has said that it is ready. */
  static async start(options: CliOptions): Promise<CliProcess> {
    const started = new CliProcess(options);
    const ready = `batch-infer ${options.words[0]} ready`;
    const fromMs = performance.now();
    while (!started.#talk.includes(ready)) {
      const ended = started.#child.exitCode !== null || started.#child.signalCode !== null;
      if (ended || performance.now() - fromMs > options.readyDeadlineMs) {
        await started.stop(0);
        throw new Error(`batch-infer ${options.words[0]} did not become ready:\n${started.#talk}`);
      }
      await delay(100);
    }
    return started;
  }

  private constructor({ words, folder, environment = {} }: CliOptions) {
    this.#child = spawn(process.execPath, [cliFile, ...words], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...environment, NO_COLOR: '1' },
    });
    children.add(this.#child);
    this.#exited = new Promise((resolve) => this.#child.once('close', (code) => resolve(code)));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#talk = (this.#talk + text).slice(-KEPT_TALK);
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it said last, on stderr. */
  get talk(): string {
    return this.#talk;
  }

  /** SIGTERM, and SIGKILL after this time; its exit code, `null` when it had to be killed. */
  async stop(limitMs: number): Promise<number | null> {
    this.#child.kill('SIGTERM');
    await Promise.race([this.#exited, delay(limitMs, undefined, { ref: false })]);
    this.#child.kill('SIGKILL');
    children.delete(this.#child);
    return await this.#exited;
  }
}
