import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack, until } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { HELD, POISON, runPython, runTool } from './python-programs.js';

/** Clients of OpenAI's Responses API on real processes, in the modes that they have by default. */

const stack = new ProofStack();

beforeAll(async () => {
  await stack.serve();
  await stack.runner(await stack.engine({ slots: 16, serviceTimeMs: 5, faults: [POISON, HELD] }));
}, 60_000);

afterAll(() => stack.close());

/** Newest first. */
const backgroundJobs = async (): Promise<{ priority: string }[]> => {
  const path = '/v1/jobs?limit=100&metadata[x_batch_infer_lane]=background';
  return (await stack.client.get<{ data: { priority: string }[] }>(path)).data;
};

describe('openai 7, unmodified', () => {
  const client = () => new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'none' });
  const make = (input: string) => client().responses.create({ model: MODEL, input, background: true });
  const whenEnded = (id: string) =>
    until('the response ends', 60_000, async () => {
      const now = await client().responses.retrieve(id);
      return now.status === 'queued' || now.status === 'in_progress' ? null : now;
    });

  it('makes responses in the background, reads how they ended, and deletes them', async () => {
    const made = await make('background-0 says so');
    expect(made).toMatchObject({ status: 'queued', background: true });
    const answer = await whenEnded(made.id);
    expect(answer).toMatchObject({ id: made.id, status: 'completed', background: true });
    expect(answer.output_text).toContain('background-0 says so');
    expect(answer.usage?.input_tokens_details).toMatchObject({ cached_tokens: 0, cache_write_tokens: 0 });
    const { id } = await make('poison');
    expect(await whenEnded(id)).toMatchObject({ status: 'failed', error: { code: 'invalid_prompt' } });
    await client().responses.delete(id);
    await expect(client().responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  it('cancels what the engine is at', async () => {
    const { id } = await make('held');
    await until('the engine has it', 60_000, async () =>
      (await client().responses.retrieve(id)).status === 'in_progress' ? true : null,
    );
    expect(await client().responses.cancel(id)).toMatchObject({ id, status: 'cancelled' });
  });

  it('reads counters of an answer that the engine left out', async () => {
    const { usage } = await client().responses.create({ model: MODEL, input: 'waited for' });
    expect(usage?.input_tokens_details).toMatchObject({ cached_tokens: 0, cache_write_tokens: 0 });
  });
});

it('autobatcher polls a background response for every call, by default', async () => {
  const bin = await pythonClients('requirements-litellm.txt');
  const words = [`${stack.url}/v1`, 'default'];
  expect(await runPython({ bin, program: 'autobatcher_map.py', words })).toEqual(
    Array.from({ length: 8 }, (_, index) => expect.stringContaining(`auto-${index} says so`)),
  );
  const newest = (await backgroundJobs()).slice(0, 8);
  expect(newest.map(({ priority }) => priority)).toEqual(Array.from({ length: 8 }, () => 'low'));
}, 900_000);

describe('inspect_ai over OpenAI’s Responses API, unmodified', () => {
  let bin: string;
  let runs = 0;

  beforeAll(async () => {
    bin = await pythonClients('requirements-inspect.txt');
  }, 700_000);

  it.each([
    ['in batches', ['--batch']],
    ['in the background', ['-M', 'background=true']],
    ['by plain requests', []],
  ])('evaluates %s, with the options that it has by default', async (_, options) => {
    runs += 1;
    const folder = join(stack.folder, `logs-${runs}`);
    const log = ['--display', 'plain', '--log-dir', folder, '--log-format', 'json'];
    await runTool({
      bin,
      tool: 'inspect',
      words: ['eval', 'inspect_task.py', '--model', `openai/${MODEL}`, ...log, ...options],
      environment: { OPENAI_BASE_URL: `${stack.url}/v1`, OPENAI_API_KEY: 'none' },
    });
    const [file = ''] = readdirSync(folder).filter((name) => name.endsWith('.json'));
    const { status, results, samples } = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    expect([status, results.scores[0].metrics.accuracy.value]).toEqual(['success', 1]);
    expect(samples).toHaveLength(6);
  });

  it('sent them to /v1/responses', async () => {
    const { data } = await stack.client.get<{ data: { endpoint: string }[] }>('/v1/jobs?limit=100');
    expect(new Set(data.map(({ endpoint }) => endpoint))).toEqual(new Set(['/v1/responses']));
  });
});
