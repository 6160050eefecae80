import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProofStack } from '../proofs/harness.js';
import { promptfoo } from './install.js';
import { POISON } from './python-programs.js';

const here = fileURLToPath(new URL('./promptfoo/', import.meta.url));
const stack = new ProofStack();
let command: string;

beforeAll(async () => {
  command = await promptfoo();
  await stack.serve();
  // Fewer slots than promptfoo sends at once: the rest waits in the queue instead of being refused.
  await stack.runner(await stack.engine({ slots: 2, serviceTimeMs: 20, faults: [POISON] }));
}, 600_000);

afterAll(() => stack.close());

/** What of a result file is used here. */
interface ResultFile {
  readonly results: {
    readonly stats: { readonly successes: number; readonly failures: number; readonly errors: number };
    readonly results: readonly {
      readonly provider: { readonly id: string };
      readonly vars: { readonly mark: string };
      readonly success: boolean;
      readonly error?: string;
      readonly response?: { readonly output?: string; readonly tokenUsage?: { readonly total?: number } };
    }[];
  };
}

/** @returns the exit code (100 when some tests failed) and what was printed. */
function evaluate(words: readonly string[]): Promise<{ code: number; printed: string }> {
  return new Promise((resolve, reject) => {
    const environment = {
      ...process.env,
      OPENAI_BASE_URL: `${stack.url}/v1`,
      OPENAI_API_KEY: 'none',
      ANTHROPIC_BASE_URL: stack.url,
      ANTHROPIC_API_KEY: 'none',
      PROMPTFOO_CONFIG_DIR: join(stack.folder, 'promptfoo'),
      PROMPTFOO_DISABLE_TELEMETRY: '1',
      PROMPTFOO_DISABLE_UPDATE: '1',
      PROMPTFOO_DISABLE_SHARING: '1',
      PROMPTFOO_DISABLE_REMOTE_GENERATION: '1',
      NO_COLOR: '1',
    };
    const options = { cwd: here, env: environment, timeout: 120_000 };
    execFile(process.execPath, [command, 'eval', ...words], options, (error, stdout, stderr) => {
      const printed = `${stdout}${stderr}`;
      if (error === null) resolve({ code: 0, printed });
      else if (typeof error.code === 'number') resolve({ code: error.code, printed });
      else reject(new Error(`promptfoo: ${printed}`, { cause: error }));
    });
  });
}

describe('promptfoo, unmodified', () => {
  it('evaluates over plain requests in four dialects: answers, marks and errors', async () => {
    const file = join(stack.folder, 'results.json');
    const words = ['-c', 'marks.yaml', '-o', file, '--no-cache', '-j', '8', '--no-progress-bar'];
    const { code, printed } = await evaluate(words);
    expect(code, printed).toBe(100);
    const { results } = JSON.parse(readFileSync(file, 'utf8')) as ResultFile;
    expect(results.stats).toMatchObject({ successes: 24, failures: 0, errors: 4 });
    for (const { provider, vars, success, error, response } of results.results) {
      expect([provider.id, vars.mark, success]).toEqual([provider.id, vars.mark, vars.mark !== 'poison']);
      if (success) expect(response?.tokenUsage?.total).toBeGreaterThan(0);
      else expect(error).toContain('400');
    }
    const lane = await stack.client.get<{ data: unknown[] }>(
      '/v1/jobs?metadata[x_batch_infer_lane]=sync&limit=100',
    );
    expect(lane.data).toHaveLength(28);
  });
});
