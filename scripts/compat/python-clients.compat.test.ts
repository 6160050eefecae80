import { execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { freePort, MODEL, ProofStack, until } from '../proofs/harness.js';
import { pythonClients } from './install.js';

const run = promisify(execFile);
const programs = fileURLToPath(new URL('./programs/', import.meta.url));
const stack = new ProofStack();

beforeAll(async () => {
  await stack.serve();
  await stack.runner(await stack.engine({ slots: 16, serviceTimeMs: 5 }));
}, 60_000);

afterAll(() => stack.close());

const lastLine = (text: string): unknown => JSON.parse(text.trim().split('\n').at(-1) ?? '');

describe('inspect_ai, unmodified', () => {
  let bin: string;

  beforeAll(async () => {
    bin = await pythonClients('requirements-inspect.txt');
  }, 700_000);

  it.each([
    ['anthropic', () => ({ ANTHROPIC_BASE_URL: stack.url, ANTHROPIC_API_KEY: 'none' }), []],
    [
      'openai',
      () => ({ OPENAI_BASE_URL: `${stack.url}/v1`, OPENAI_API_KEY: 'none' }),
      ['-M', 'responses_api=false'],
    ],
  ] as const)('evaluates in batches over %s', async (provider, environment, options) => {
    const words = [
      'eval',
      'inspect_task.py',
      '--model',
      `${provider}/${MODEL}`,
      '--batch',
      '--display',
      'plain',
    ];
    const { stdout } = await run(
      join(bin, 'inspect'),
      [...words, '--log-dir', join(stack.folder, 'logs'), ...options],
      {
        cwd: programs,
        env: { ...process.env, ...environment() },
      },
    );
    expect(stdout).toMatch(/accuracy\s+1\.000/);
  });
});

describe('clients of openai 2', () => {
  let bin: string;

  beforeAll(async () => {
    bin = await pythonClients('requirements-litellm.txt');
  }, 700_000);

  it('autobatcher gathers single calls into a batch', async () => {
    const { stdout } = await run(join(bin, 'python3'), [
      join(programs, 'autobatcher_map.py'),
      `${stack.url}/v1`,
    ]);
    expect(lastLine(stdout)).toEqual(
      Array.from({ length: 8 }, (_, index) => expect.stringContaining(`auto-${index} says so`)),
    );
  });

  it("LiteLLM's proxy passes batches through", async () => {
    const port = await freePort();
    const key = 'sk-compat-0123456789abcdef';
    const target = { api_base: `${stack.url}/v1`, api_key: 'none' };
    const settings = {
      model_list: [{ model_name: MODEL, litellm_params: { model: `openai/${MODEL}`, ...target } }],
      files_settings: [{ custom_llm_provider: 'openai', ...target }],
      general_settings: { master_key: key },
    };
    const file = join(stack.folder, 'litellm.yaml');
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(settings));
    const proxy = spawn(
      join(bin, 'litellm'),
      ['--config', file, '--port', String(port), '--host', '127.0.0.1'],
      {
        stdio: 'ignore',
      },
    );
    onTestFinished(() => void proxy.kill('SIGKILL'));
    await until('LiteLLM answers', 120_000, async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/health/liveliness`);
      return answer.ok ? true : null;
    });
    const words = [join(programs, 'litellm_batch.py'), `http://127.0.0.1:${port}/v1`, key];
    const { stdout } = await run(join(bin, 'python3'), words);
    expect(lastLine(stdout)).toEqual({
      status: 'completed',
      ids: Array.from({ length: 10 }, (_, index) => `lite-${index}`),
    });
  });
});
