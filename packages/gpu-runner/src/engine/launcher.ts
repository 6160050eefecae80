import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { type Clock, sleep } from '../clock.js';
import { RunnerError } from '../errors.js';
import type { RunnerLogger } from '../logger.js';
import { printableCommand } from './preset-command.js';
import { splitShellWords } from './shell-words.js';
import { normalizeEngineUrl } from './url.js';

export interface LauncherOptions {
  /** `{port}` in it becomes a free port. */
  readonly command: string;
  /** All that it inherits. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where it will listen; `null`: at the free port, or at vLLM's default. */
  readonly url: string | null;
  /** How long it may take to end after SIGTERM. */
  readonly graceMs: number;
  /** Shows what it prints. */
  readonly verbose: boolean;
  readonly clock: Clock;
  readonly logger: RunnerLogger;
  /** Called whenever its process ends by itself. */
  readonly onExit: () => void;
  /** Is told the command line that is run, for people: without keys. Not called again when it is started again. */
  readonly onLaunch: (command: string) => void;
}

const DEFAULT_URL = 'http://127.0.0.1:8000';
const KEPT_LINES = 50;
/** How long the last lines of an engine that has ended may take. */
const PIPES_MS = 1_000;
const RESTART_CEILINGS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
/** Ends in a row before it was ever of use, after which it is given up. */
const FAILED_STARTS = 3;
/** A process that lived so long starts its back-off anew. */
const STABLE_MS = 60_000;

/** Starts an engine, keeps it running, and takes it down with us. */
export class EngineLauncher {
  readonly url: string;
  /** Times it was started again. */
  restarts = 0;
  readonly #options: LauncherOptions;
  readonly #words: readonly string[];
  readonly #lines: string[] = [];
  readonly #stopping = new AbortController();
  #child: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();
  #useful = false;
  #supervision: Promise<void> = Promise.resolve();
  #reject: (error: RunnerError) => void = () => {};
  /** Rejects when the engine cannot be started; never resolves. */
  readonly failed: Promise<never>;

  private constructor(options: LauncherOptions, words: readonly string[], url: string) {
    this.#options = options;
    this.#words = words;
    this.url = url;
    this.failed = new Promise((_resolve, reject) => {
      this.#reject = reject;
    });
    // Nobody may be waiting any more when it fails.
    this.failed.catch(() => {});
  }

  /** @throws {RunnerError} `invalid_config` when the command line cannot be read. */
  static async start(options: LauncherOptions): Promise<EngineLauncher> {
    const port = options.command.includes('{port}') ? String(await freePort()) : null;
    let words: string[];
    try {
      words = splitShellWords(port === null ? options.command : options.command.replaceAll('{port}', port));
    } catch (error) {
      throw new RunnerError(
        'invalid_config',
        `--launch: ${error instanceof Error ? error.message : String(error)}`,
        error,
      );
    }
    if (words.length === 0) throw new RunnerError('invalid_config', '--launch: the command is empty');
    const named = port ?? portIn(words);
    const url = options.url ?? (named === null ? DEFAULT_URL : `http://127.0.0.1:${named}`);
    const launcher = new EngineLauncher(options, words, normalizeEngineUrl(url));
    options.onLaunch(printableCommand(words));
    launcher.#supervision = launcher.#supervise();
    return launcher;
  }

  /** The engine has answered: from now on its ends are no failed starts. */
  markUseful(): void {
    this.#useful = true;
  }

  /** What it printed last. */
  get lastLines(): readonly string[] {
    return this.#lines;
  }

  /** SIGTERM, then SIGKILL after the grace time (at once when `fast`), to its whole process group. */
  async stop(fast: boolean): Promise<void> {
    this.#stopping.abort();
    const graceMs = fast ? 0 : this.#options.graceMs;
    this.#signal(graceMs === 0 ? 'SIGKILL' : 'SIGTERM');
    const cancel = this.#options.clock.after(graceMs, () => this.#signal('SIGKILL'));
    await this.#exited;
    // Its children may have outlived it.
    this.#signal('SIGKILL');
    cancel();
    await this.#supervision;
  }

  async #supervise(): Promise<void> {
    const { clock, logger, onExit } = this.#options;
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const startedAtMs = clock.nowMs();
      this.#spawn();
      const ending = await this.#ending();
      if (this.#stopping.signal.aborted) return;
      onExit();
      failures = this.#useful && clock.nowMs() - startedAtMs > STABLE_MS ? 1 : failures + 1;
      logger.error({ ending }, `the launched engine ended (${ending}): --verbose shows what it prints`);
      // Engines that log requests print prompts: whoever collects our log is not to have them.
      logger.debug({ ending, output: this.#lines.slice(-KEPT_LINES) }, 'the last lines of the engine');
      if (!this.#useful && failures >= FAILED_STARTS) {
        this.#reject(new RunnerError('launch_failed', this.#failure(ending)));
        return;
      }
      const delayMs = RESTART_CEILINGS_MS[Math.min(failures, RESTART_CEILINGS_MS.length) - 1] ?? 0;
      this.restarts += 1;
      await sleep(clock, delayMs, this.#stopping.signal);
    }
  }

  #spawn(): void {
    const { environment } = this.#options;
    const [program = '', ...rest] = [...deathPrefix(environment), ...this.#words];
    // A process group of its own: all of it is ended together, and Ctrl-C reaches only us.
    const child = spawn(program, rest, {
      detached: true,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#keep(line));
    }
    // What a dead engine leaves behind keeps the GPU's memory, and our pipes open.
    child.once('exit', () => {
      this.#signal('SIGKILL');
      // A process that left the group holds our pipes open: it is not waited for.
      this.#options.clock.after(PIPES_MS, () => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      });
    });
    this.#exited = new Promise((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
  }

  async #ending(): Promise<string> {
    const child = this.#child;
    if (child === null) return 'not started';
    let problem: string | null = null;
    child.once('error', (error) => {
      problem = error.message;
    });
    await this.#exited;
    return (
      problem ?? (child.signalCode === null ? `exit code ${child.exitCode}` : `signal ${child.signalCode}`)
    );
  }

  #keep(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    if (this.#options.verbose) process.stderr.write(`engine | ${line}\n`);
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // The group is gone already.
    }
  }

  #failure(ending: string): string {
    const output = this.#lines.map((line) => `  ${line}`).join('\n');
    return `the engine could not be started (${ending}, ${FAILED_STARTS} times): run the --launch command by itself to see why${output === '' ? '' : `\n${output}`}`;
  }
}

/** The value of `--port N` or `--port=N`. */
function portIn(words: readonly string[]): string | null {
  const at = words.findIndex((word) => word === '--port' || word.startsWith('--port='));
  const value = words[at]?.startsWith('--port=') ? words[at].slice('--port='.length) : words[at + 1];
  return at !== -1 && value !== undefined && /^\d{1,5}$/.test(value) ? value : null;
}

/** Where the system has it, this makes the kernel end the engine when we are killed. */
const DEATH_PREFIX = ['setpriv', '--pdeathsig', 'KILL'] as const;
let prefix: readonly string[] | null = null;

function deathPrefix(env: Readonly<Record<string, string>>): readonly string[] {
  if (prefix === null) {
    const [program, ...rest] = DEATH_PREFIX;
    const usable =
      process.platform === 'linux' && spawnSync(program, [...rest, 'true'], { env }).status === 0;
    prefix = usable ? DEATH_PREFIX : [];
  }
  return prefix;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
