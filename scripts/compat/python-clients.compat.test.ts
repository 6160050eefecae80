import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, MODEL, ProofStack, until } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { endWindow, HELD, jobMidway, POISON, runPython } from './python-programs.js';

/** Tools that want openai 2. */

const stack = new ProofStack();
let bin: string;

beforeAll(async () => {
  bin = await pythonClients('requirements-litellm.txt');
  await stack.serve();
  await stack.runner(await stack.engine({ slots: 16, serviceTimeMs: 5, faults: [POISON, HELD] }));
}, 700_000);

afterAll(() => stack.close());

const ids = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word}-${index}`);

it('autobatcher, unmodified, gathers single calls into a batch', async () => {
  expect(await runPython({ bin, program: 'autobatcher_map.py', words: [`${stack.url}/v1`] })).toEqual(
    ids('auto', 8).map((id) => expect.stringContaining(`${id} says so`)),
  );
});

describe("LiteLLM's proxy, unmodified, passes on the lives of batches", () => {
  const key = 'sk-compat-0123456789abcdef';
  let url: string;
  let stop: () => void = () => undefined;

  beforeAll(async () => {
    const port = await freePort();
    const target = { api_base: `${stack.url}/v1`, api_key: 'none' };
    const settings = {
      model_list: [{ model_name: MODEL, litellm_params: { model: `openai/${MODEL}`, ...target } }],
      files_settings: [{ custom_llm_provider: 'openai', ...target }],
      general_settings: { master_key: key },
    };
    const file = join(stack.folder, 'litellm.yaml');
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(settings));
    const words = ['--config', file, '--port', String(port), '--host', '127.0.0.1'];
    const proxy = spawn(join(bin, 'litellm'), words, { stdio: 'ignore' });
    stop = () => void proxy.kill('SIGKILL');
    url = `http://127.0.0.1:${port}`;
    await until('LiteLLM answers', 120_000, async () => {
      const answer = await fetch(`${url}/health/liveliness`);
      return answer.ok ? true : null;
    });
  }, 180_000);

  afterAll(() => stop());

  const live = (...scenario: string[]) =>
    runPython({
      bin,
      program: 'openai_life.py',
      words: [`${url}/v1`, ...scenario],
      environment: { OPENAI_API_KEY: key, COMPAT_HEADERS: '{"custom-llm-provider": "openai"}' },
    });

  it.each([
    ['completed', 20, 2],
    ['all-failed', 0, 3],
  ])('%s: answers, and errors where there are some', async (scenario, completed, failed) => {
    expect(await live(scenario)).toMatchObject({
      status: 'completed',
      counts: { total: completed + failed, completed, failed },
      output: completed === 0 ? null : ids('good', completed),
      own: true,
      errors: ids('poison', failed).map((id) => [id, 400, null]),
    });
  });

  it('cancelled midway', async () => {
    expect(await live('cancelled')).toMatchObject({
      status: 'cancelled',
      output: ids('good', 3),
      errors: ids('held', 3).map((id) => [id, null, 'batch_cancelled']),
    });
  });

  it('expired midway', async () => {
    const life = live('expired', '24h');
    endWindow(stack, await jobMidway(stack, 3));
    expect(await life).toMatchObject({
      status: 'expired',
      window: '24h',
      output: ids('good', 3),
      errors: ids('held', 3).map((id) => [id, null, 'batch_expired']),
    });
  });

  it('failed, with an error for each line that does not fit its endpoint', async () => {
    expect(await live('failed')).toMatchObject({
      status: 'failed',
      data: [
        [2, 'mismatched_url', true],
        [3, 'mismatched_url', true],
      ],
    });
  });

  it('results as a stream of lines', async () => {
    expect(await live('streamed')).toMatchObject({ ids: true });
  });

  it('lists of batches and files, each once', async () => {
    expect(await live('lists')).toMatchObject({ newest_first: true, twice: 0, files: true, next: true });
  });
});
