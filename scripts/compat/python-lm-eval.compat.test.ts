import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack, until } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { runTool } from './python-programs.js';

/** lm-eval knows no batches: it sends plain requests, many at once. */

const SAMPLES = 40;
const SLOTS = 4;
const stack = new ProofStack();
let engine: EngineSim;
let bin: string;

beforeAll(async () => {
  bin = await pythonClients('requirements-lm-eval.txt');
  engine = await stack.engine({ slots: SLOTS, serviceTimeMs: 20 });
  await stack.serve();
  await stack.runner(engine);
}, 700_000);

afterAll(() => stack.close());

/** What of lm-eval's report is looked at here. */
interface Report {
  readonly results: { readonly compat_echo: { readonly 'exact_match,name': number } };
  readonly 'n-samples': { readonly compat_echo: { readonly effective: number } };
}

describe('lm-eval through the synchronous lane, unmodified', () => {
  /** With a header for long queues, and without one. */
  const wait = {
    header: { Authorization: 'Bearer none', 'x-batch-infer-wait-ms': '3600000' },
    timeout: 3_600,
  };

  it.each([
    ['local-chat-completions', 'chat/completions', wait, ['--apply_chat_template']],
    ['local-completions', 'completions', { tokenizer_backend: 'none' }, []],
  ] as const)(
    '%s is answered for every sample, far more at once than the engine holds',
    async (model, path, more, flags) => {
      const folder = join(stack.folder, model);
      const settings = JSON.stringify({
        model: MODEL,
        base_url: `${stack.url}/v1/${path}`,
        num_concurrent: SAMPLES,
        ...more,
      });
      await runTool({
        bin,
        tool: 'lm_eval',
        words: [
          ...['--model', model, '--model_args', settings, ...flags],
          ...['--tasks', 'compat_echo', '--include_path', 'lm-eval', '--output_path', folder],
        ],
        environment: { OPENAI_API_KEY: 'none', HF_HOME: join(stack.folder, 'hf') },
      });
      const [name] = readdirSync(join(folder, MODEL)).filter((file) => file.startsWith('results_'));
      const report = JSON.parse(readFileSync(join(folder, MODEL, name ?? ''), 'utf8')) as Report;
      expect(report['n-samples'].compat_echo.effective).toBe(SAMPLES);
      expect(report.results.compat_echo['exact_match,name']).toBe(1);
      expect(engine.stats().maxRunning).toBeLessThanOrEqual(SLOTS);
    },
  );

  it('leaves a job behind for each request, none of which was sent twice', async () => {
    const query = 'metadata[x_batch_infer_lane]=sync&limit=100';
    const jobs = await until('the jobs have ended', 30_000, async () => {
      const { data } = await stack.client.get<{ data: { status: string }[] }>(`/v1/jobs?${query}`);
      return data.every(({ status }) => status !== 'queued' && status !== 'running') ? data : null;
    });
    expect(jobs.map(({ status }) => status)).toEqual(Array.from({ length: 2 * SAMPLES }, () => 'succeeded'));
    expect(engine.stats().received).toBe(2 * SAMPLES);
  });
});
