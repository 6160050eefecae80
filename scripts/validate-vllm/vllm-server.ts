import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { InstalledVllm } from './install-vllm.ts';

const KEPT_OUTPUT = 20_000;
const START_DEADLINE_MS = 600_000;
const EXIT_DEADLINE_MS = 90_000;

/** The weights are there; nothing is to be asked or told. */
export const OFFLINE = { HF_HUB_OFFLINE: '1', VLLM_NO_USAGE_STATS: '1' };

export interface VllmServer {
  readonly url: string;
  /** From spawn until `/health` answered. */
  readonly startedInMs: number;
  /** SIGTERM to the server, as a supervisor sends it. */
  terminate(): void;
  /** Resolves when the process has ended, killed if need be; milliseconds from this call. */
  ended(): Promise<number>;
}

const groups = new Set<ChildProcess>();
// vLLM is several processes: none may survive this one.
process.once('exit', () => {
  for (const child of groups) killGroup(child);
});

/** Starts `vllm serve` with the flags given on a free loopback port, and waits until it answers. */
export async function startVllm(
  installed: InstalledVllm,
  flags: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<VllmServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const startedAtMs = performance.now();
  const child = spawn(
    installed.command,
    [
      ...['serve', installed.weightsFolder, '--served-model-name', installed.modelName],
      ...['--host', '127.0.0.1', '--port', String(port), ...flags],
    ],
    {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...OFFLINE, ...environment },
    },
  );
  groups.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT);
    });
  const exited = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      output += String(error);
      resolve();
    });
    child.once('exit', () => resolve());
  });
  let hasExited = false;
  void exited.then(() => {
    hasExited = true;
  });
  while (!(await answers(`${url}/health`))) {
    if (hasExited || performance.now() - startedAtMs > START_DEADLINE_MS) {
      killGroup(child);
      throw new Error(`vllm serve did not start:\n${output}`);
    }
    await delay(500);
  }
  return {
    url,
    startedInMs: performance.now() - startedAtMs,
    terminate: () => void child.kill('SIGTERM'),
    async ended() {
      const fromMs = performance.now();
      await Promise.race([exited, delay(EXIT_DEADLINE_MS, undefined, { ref: false })]);
      killGroup(child);
      await exited;
      groups.delete(child);
      return performance.now() - fromMs;
    },
  };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP port was assigned');
  return address.port;
}
