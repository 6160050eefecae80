import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setting } from './settings.js';

const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));

/** The command under proof. `PROOF_CLI` names another build of it, for instance an installed package. */
const cliFile = setting('PROOF_CLI') ?? `${repositoryRoot}packages/cli/bin/batch-infer.js`;
const engineSimFile = `${repositoryRoot}packages/testkit/dist/engine-sim/main.js`;

/** What a program printed last, at most so many characters: enough to see why it ended. */
const KEPT_OUTPUT = 64_000;

export interface ProgramExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process of the product, seen from outside. */
export interface Program {
  readonly name: string;
  readonly processId: number;
  /** First group of the ready pattern, for instance a URL. */
  readonly ready: string;
  readonly exited: Promise<ProgramExit>;
  /** stderr so far. */
  talk(): string;
  signal(signal: NodeJS.Signals): void;
  /** `kill -9`, and the end of the process. */
  crash(): Promise<void>;
  /** SIGTERM, and how it ended. */
  stop(): Promise<ProgramExit>;
}

export interface LaunchOptions {
  readonly name: string;
  readonly file: string;
  readonly parameters: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ready: RegExp;
  readonly deadlineMs?: number;
}

const running = new Set<ChildProcess>();
// A worker that ends without its hooks takes its programs along.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a program and resolves when its stderr has the ready line. */
export async function launch(options: LaunchOptions): Promise<Program> {
  const { child, exited, output } = start(options.file, options.parameters, options.environment ?? {});
  const ready = await new Promise<string>((resolve, reject) => {
    const fail = (what: string) => {
      child.kill('SIGKILL');
      reject(new Error(`${options.name} ${what}: ${output.stderr}`));
    };
    const timer = setTimeout(() => fail('was not ready in time'), options.deadlineMs ?? 30_000);
    const look = () => {
      const found = options.ready.exec(output.stderr);
      if (found === null) return;
      clearTimeout(timer);
      child.stderr?.off('data', look);
      resolve(found[1] ?? '');
    };
    child.stderr?.on('data', look);
    void exited.then(({ code }) => {
      clearTimeout(timer);
      fail(`ended with ${code} before it was ready`);
    });
  });
  return {
    name: options.name,
    processId: child.pid ?? 0,
    ready,
    exited,
    talk: () => output.stderr,
    signal: (signal) => void child.kill(signal),
    async crash() {
      child.kill('SIGKILL');
      await exited;
    },
    async stop() {
      child.kill('SIGTERM');
      return await exited;
    },
  };
}

export interface CliRun extends ProgramExit {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `batch-infer …` to its end. */
export async function runCli(
  parameters: readonly string[],
  options: { environment?: Readonly<Record<string, string>>; deadlineMs?: number } = {},
): Promise<CliRun> {
  const { child, exited, output } = start(cliFile, parameters, options.environment ?? {});
  const timer = setTimeout(() => child.kill('SIGKILL'), options.deadlineMs ?? 30_000);
  const exit = await exited;
  clearTimeout(timer);
  return { ...exit, ...output };
}

/** `batch-infer serve`; `ready` is its URL. */
export function launchServe(
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const ready = /^batch-infer serve ready (\S+)$/m;
  return launch({ name: 'serve', file: cliFile, parameters: ['serve', ...parameters], environment, ready });
}

/** `batch-infer runner`; `ready` is the list of its models. */
export function launchRunner(
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const ready = /^batch-infer runner ready (\S+) → \S+$/m;
  return launch({ name: 'runner', file: cliFile, parameters: ['runner', ...parameters], environment, ready });
}

/** The simulated engine as a program; `ready` is its URL. */
export function launchEngineSim(parameters: readonly string[]): Promise<Program> {
  const ready = /^engine-sim ready (\S+)$/m;
  return launch({ name: 'engine-sim', file: engineSimFile, parameters, ready });
}

function start(
  file: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>>,
): { child: ChildProcess; exited: Promise<ProgramExit>; output: { stdout: string; stderr: string } } {
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`npm run build\` first`);
  const child = spawn(process.execPath, [file, ...parameters], {
    cwd: tmpdir(),
    env: { ...inherited(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] = (output[name] + text).slice(-KEPT_OUTPUT);
    });
  }
  const exited = new Promise<ProgramExit>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  return { child, exited, output };
}

/** The environment of a person who has set nothing of ours. */
function inherited(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && !/^(BATCH_INFER_|OPENAI_|AWS_|VITEST|NODE_OPTIONS)/.test(entry[0]),
  );
  return { ...Object.fromEntries(kept), NO_COLOR: '1' };
}
