import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { freePort, MODEL, ProofStack, until } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { runPython } from './python-programs.js';

const stack = new ProofStack();

beforeAll(async () => {
  await stack.serve();
  await stack.runner(await stack.engine({ slots: 16, serviceTimeMs: 5 }));
}, 60_000);

afterAll(() => stack.close());

describe('clients of openai 2', () => {
  let bin: string;

  beforeAll(async () => {
    bin = await pythonClients('requirements-litellm.txt');
  }, 700_000);

  it('autobatcher gathers single calls into a batch', async () => {
    expect(await runPython({ bin, program: 'autobatcher_map.py', words: [`${stack.url}/v1`] })).toEqual(
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
    const words = [`http://127.0.0.1:${port}/v1`, key];
    expect(await runPython({ bin, program: 'litellm_batch.py', words })).toEqual({
      status: 'completed',
      ids: Array.from({ length: 10 }, (_, index) => `lite-${index}`),
    });
  });
});
