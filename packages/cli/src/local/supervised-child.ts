import { type ChildProcess, fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { Backoff } from './backoff.js';
import { environmentOfPart } from './part-environment.js';
import { parseReadyLine } from './ready-line.js';

export interface ChildOptions {
  /** The executable of this command. */
  readonly entry: string;
  readonly part: 'serve' | 'runner';
  /** Variables on top of ours. Asked for at every start, because a port may be known by then. */
  readonly variables: () => Readonly<Record<string, string>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  /** Everything it prints but its ready line. */
  readonly onLine: (line: string) => void;
  readonly onRestart: (delayMs: number) => void;
}

/**
 * One part of the stack as a child process. It is in a process group of its own, so that Ctrl-C in a terminal reaches
 * only us and the order of stopping is ours; its channel to us breaks when we die, however we die, and then it drains.
 * A crash after it was ready starts it again.
 */
export class SupervisedChild {
  readonly #options: ChildOptions;
  readonly #backoff = new Backoff();
  #child: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();
  #stopping = false;
  #restart: ReturnType<typeof setTimeout> | undefined;
  /** The last lines, to show when it does not come up. */
  #lastLines: string[] = [];

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  /**
   * Starts it; resolves to what its ready line says.
   *
   * @throws CliError with the child's own message and exit code when it ends before it is ready.
   */
  async start(): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.#spawn({ onReady: resolve, onEarlyExit: reject });
    return await promise;
  }

  /** Asks it to drain and waits for its end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGTERM');
    await this.#exited;
  }

  #spawn(first: { onReady: (text: string) => void; onEarlyExit: (error: CliError) => void } | null): void {
    const { entry, part, variables, environment, workingDirectory } = this.#options;
    const startedMs = performance.now();
    let ready = false;
    const child = fork(entry, [part], {
      cwd: workingDirectory,
      detached: true,
      env: environmentOfPart(part, { ...environment, ...variables() }),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    this.#lastLines = [];
    const said: string[] = [];
    const onLine = (line: string) => {
      const text = parseReadyLine(part, line);
      if (text === null) {
        // At a first start that fails, what it says last becomes our own error: it is not told twice.
        const ownWords = first !== null && !ready && (said.length > 0 || line.startsWith('error: '));
        if (ownWords) said.push(line);
        this.#pass(line, { quietly: ownWords });
      } else {
        ready = true;
        for (const held of said) this.#options.onLine(held);
        first?.onReady(text);
      }
    };
    const streams = [child.stdout, child.stderr].flatMap((stream) =>
      stream === null ? [] : [readLines(stream, onLine)],
    );
    this.#exited = new Promise((resolve) => {
      const onEnd = async (code: number | null) => {
        await Promise.all(streams);
        this.#child = null;
        resolve();
        if (this.#stopping) return;
        if (first !== null && !ready) first.onEarlyExit(this.#earlyExit(code));
        else this.#restartLater(performance.now() - startedMs);
      };
      child.once('exit', (code) => void onEnd(code));
      child.once('error', () => void onEnd(null));
    });
  }

  #pass(line: string, { quietly }: { quietly: boolean }): void {
    this.#lastLines = [...this.#lastLines.slice(-19), line];
    if (!quietly) this.#options.onLine(line);
  }

  #restartLater(ranMs: number): void {
    const delayMs = this.#backoff.nextDelayMs(ranMs);
    this.#options.onRestart(delayMs);
    this.#restart = setTimeout(() => this.#spawn(null), delayMs);
  }

  /** The child has said what is wrong: its `error:` and `next:` lines become ours. */
  #earlyExit(code: number | null): CliError {
    const at = this.#lastLines.findLastIndex((line) => line.startsWith('error: '));
    const said = at === -1 ? this.#lastLines : this.#lastLines.slice(at);
    const nextAt = said.findIndex((line) => line.startsWith('next: '));
    const next = said[nextAt]?.slice('next: '.length) ?? null;
    const message = (nextAt === -1 ? said : said.slice(0, nextAt)).join('\n').replace(/^error: /, '');
    const { part } = this.#options;
    return new CliError(
      code || EXIT.unexpected,
      message === '' ? `${part} ended before it was ready` : message,
      next,
    );
  }
}

/** Calls back for every line; resolves at the end. */
async function readLines(stream: Readable, onLine: (line: string) => void): Promise<void> {
  try {
    for await (const line of createInterface({ input: stream })) onLine(line);
  } catch {
    // The stream broke with its process.
  }
}
