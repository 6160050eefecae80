import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { MODEL, ProofStack, runCli } from '../scripts/proofs/harness.js';

const folder = fileURLToPath(new URL('./', import.meta.url));
/** The model that the evaluation file names. */
const EVALUATED = 'smollm2-135m';
const stack = new ProofStack();

beforeAll(async () => {
  await stack.serve();
  const engine = await stack.engine({ slots: 8, serviceTimeMs: 20, models: [MODEL, EVALUATED] });
  await stack.runner(engine, ['--model', EVALUATED]);
}, 60_000);

afterAll(() => stack.close());

/** Runs an example against the stack and resolves with its exit code and all it said. */
async function run(
  command: string,
  words: readonly string[],
): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, words, {
    cwd: join(folder, '..'),
    env: { ...process.env, BATCH_INFER_BASE_URL: stack.url, BATCH_INFER_MODEL: MODEL },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += String(text)));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

describe('the examples', () => {
  it('walk through the API with curl alone', async () => {
    const { code, output } = await run('bash', ['examples/curl-walkthrough.sh']);
    expect(output).toContain('succeeded');
    expect(code, output).toBe(0);
  });

  it('submit, follow and read with the SDK', async () => {
    const { code, output } = await run(process.execPath, ['examples/sdk-script.ts']);
    expect(code, output).toBe(0);
  });

  it('score an offline evaluation and fail below the threshold', async () => {
    const results = join(stack.folder, 'results.jsonl');
    const { stderr, code } = await runCli(
      ['run', join(folder, 'evaluation/evaluation.jsonl'), '-o', results],
      { environment: { BATCH_INFER_BASE_URL: stack.url }, deadlineMs: 60_000 },
    );
    expect(code, stderr).toBe(0);
    const score = await run(process.execPath, [
      'examples/evaluation/score.mjs',
      results,
      '--min-accuracy',
      '0.75',
    ]);
    expect(score.output).toContain('arithmetic');
    // The simulated engine echoes: nothing is right, and CI must see that.
    expect(score.code).toBe(3);
  });

  it('hold a CI workflow that runs the evaluation with a threshold', () => {
    const workflow = parse(readFileSync(join(folder, 'evaluation/ci-workflow.yml'), 'utf8'));
    expect(JSON.stringify(workflow.jobs)).toMatch(/npm run demo -- --min-accuracy/);
  });
});
