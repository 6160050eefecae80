import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export const ENTRY = fileURLToPath(new URL('../bin/batch-infer.js', import.meta.url));
const BUILT = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** Longest wait for anything a test expects. */
const DEADLINE_MS = 60_000;

export interface CliOptions {
  readonly cwd: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Runs it on a terminal of its own; everything it prints is then in `stdout`. */
  readonly terminal?: boolean;
  /** Kept running behind the test that started it. */
  readonly shared?: boolean;
}

/** Python's pty module gives a program a terminal and passes on what it says. Its exit code becomes ours. */
const ON_A_TERMINAL =
  'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])) % 256)';

/** The built command as a process, as users run it. */
export class CliProcess {
  readonly child: ChildProcess;
  /** The exit code; 128 + number for signals. */
  readonly ended: Promise<number>;
  stdout = '';
  stderr = '';

  constructor(parameters: readonly string[], options: CliOptions) {
    if (!existsSync(BUILT)) throw new Error('The command is not built: run `npm run build` first');
    const command = [process.execPath, ENTRY, ...parameters];
    const [program = '', ...rest] = options.terminal ? ['python3', '-c', ON_A_TERMINAL, ...command] : command;
    this.child = spawn(program, rest, { cwd: options.cwd, env: environmentOf(options) });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 128)));
    });
    if (!options.shared) onTestFinished(() => this.stop());
  }

  /** Waits until it has said this. Fails at its end, or after a minute. */
  async until(pattern: RegExp, where: 'stdout' | 'stderr' = 'stderr'): Promise<RegExpExecArray> {
    const find = () => pattern.exec(this[where]);
    await waitUntil(
      () => find() !== null || this.child.exitCode !== null,
      () => this.#transcript(pattern),
    );
    const found = find();
    if (found === null) throw new Error(this.#transcript(pattern));
    return found;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it whatever it does. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      const cut = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
      await this.ended;
      clearTimeout(cut);
    }
  }

  #transcript(pattern: RegExp): string {
    return `${pattern} was not seen; it said:\n${this.stderr.slice(-2_000)}${this.stdout.slice(-2_000)}`;
  }
}

/** Runs a command to its end. */
export async function runCommand(
  parameters: readonly string[],
  options: CliOptions & { input?: string },
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const cli = new CliProcess(parameters, options);
  cli.child.stdin?.end(options.input ?? '');
  return { exitCode: await cli.ended, stdout: cli.stdout, stderr: cli.stderr };
}

/** Runs a script of bash in which `batch-infer` is the built command. */
export async function runShell(
  script: string,
  options: CliOptions,
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const command = `batch-infer() { '${process.execPath}' '${ENTRY}' "$@"; }; ${script}`;
  const child = spawn('bash', ['-c', command], {
    cwd: options.cwd,
    env: environmentOf(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 128));
  });
  return { exitCode, stdout, stderr };
}

/** Polls until something holds, with a deadline. */
export async function waitUntil(
  holds: () => boolean | Promise<boolean>,
  explain: () => string = () => 'it never came true',
): Promise<void> {
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(explain());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Ours without the settings of whoever runs the tests. */
function environmentOf({ environment, cwd }: CliOptions): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(BATCH_INFER_|GITHUB_|NO_COLOR|FORCE_COLOR|CI$)/.test(name),
  );
  return { ...Object.fromEntries(kept), XDG_CONFIG_HOME: cwd, ...environment };
}

/** The processes that a process has started, by their command lines. */
export async function childrenOf(pid: number): Promise<{ pid: number; command: string }[]> {
  const { readdir, readFile } = await import('node:fs/promises');
  const found: { pid: number; command: string }[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    const parent = Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent !== pid) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    found.push({ pid: Number(name), command: command.replaceAll('\0', ' ').trim() });
  }
  return found;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
