import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type ProofStack, until } from '../proofs/harness.js';

const run = promisify(execFile);

/** Where the programs lie. */
const programs = fileURLToPath(new URL('./programs/', import.meta.url));

export interface PythonRun {
  /** Of the virtual environment. */
  readonly bin: string;
  readonly words: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Runs a program of `programs/` to its end; answers what it printed last, one line of JSON. */
export async function runPython(options: PythonRun & { readonly program: string }): Promise<unknown> {
  const { program, ...rest } = options;
  const stdout = await runTool({ ...rest, tool: 'python3', words: [join(programs, program), ...rest.words] });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

/**
 * Runs a program that a client brings along, in the folder of the programs; answers its stdout.
 * @throws with what it printed, when it fails or outlives its time (two minutes).
 */
export async function runTool(options: PythonRun & { readonly tool: string }): Promise<string> {
  const { stdout } = await run(join(options.bin, options.tool), [...options.words], {
    cwd: programs,
    // No client may look for an answer anywhere else.
    env: { ...process.env, HF_HUB_OFFLINE: '1', NO_COLOR: '1', ...options.environment },
    timeout: options.timeoutMs ?? 120_000,
    maxBuffer: 16_000_000,
  });
  return stdout;
}

/** An engine with both: what it never answers, for whoever ends a batch midway, and what it refuses. */
export const HELD = { match: { bodyIncludes: 'held' }, action: { kind: 'hang' } } as const;
export const POISON = { match: { bodyIncludes: 'poison' }, action: { kind: 'status', status: 400 } } as const;

/**
 * Ends the completion window of a job now: no client of Anthropic's can ask for one shorter than a day. The sweeper
 * does the rest, as it would tomorrow.
 */
export function endWindow(stack: ProofStack, jobId: string): void {
  const ledger = new DatabaseSync(join(stack.folder, 'data', 'ledger.db'));
  try {
    ledger.exec('PRAGMA busy_timeout = 5000');
    ledger.prepare('UPDATE job SET expires_at = ? WHERE id = ?').run(Date.now(), jobId);
  } finally {
    ledger.close();
  }
}

/** The job that runs, once so many of its items have succeeded and the others are at the engine. */
export async function jobMidway(stack: ProofStack, succeeded: number): Promise<string> {
  const { id } = await until(`a job with ${succeeded} answers`, 60_000, async () => {
    const { data } = await stack.client.get<{
      data: { id: string; counts: { succeeded: number; running: number } }[];
    }>('/v1/jobs?status=running&limit=1');
    const [job] = data;
    return job?.counts.succeeded === succeeded && job.counts.running > 0 ? job : null;
  });
  return id;
}
