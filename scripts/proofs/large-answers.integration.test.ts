import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, parseRunnerConfig, startRunner } from '@batch-infer/gpu-runner';
import { BatchInfer } from '@batch-infer/sdk';
import { expect, test } from 'vitest';
import { largeMarker, MODEL, OddEngine } from './odd-answers/stack.js';
import { launchServe } from './program.js';

const ITEMS = 120;
const MIB = 1024 * 1024;

test('a control plane with a heap of 96 MB ends a job of 120 answers of a megabyte, and gives its results', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-large-'));
  const engine = await new OddEngine(MODEL).start();
  const serve = await launchServe(['--data', folder, '--port', '0'], {
    NODE_OPTIONS: '--max-old-space-size=96',
  });
  const parameters = { server: serve.ready, engineUrl: [engine.url] };
  const runner = await startRunner(parseRunnerConfig(parameters, {}), { logger: createLogger('silent') });
  try {
    const { jobs } = new BatchInfer({ baseUrl: serve.ready });
    const items = Array.from({ length: ITEMS }, (_, index) => ({
      customId: `c-${index}`,
      body: { input: largeMarker(1) + index },
    }));
    const job = await jobs.submit({ items, model: MODEL, endpoint: '/v1/embeddings' });
    expect(await job.wait()).toMatchObject({ status: 'succeeded' });
    for (const order of ['input', 'completion'] as const) {
      let lines = 0;
      for await (const { text } of job.lines({ order })) {
        expect(text.length).toBeGreaterThan(MIB - 100);
        lines += 1;
      }
      expect(lines).toBe(ITEMS);
    }
  } finally {
    await runner.drain({ fast: true });
    await serve.stop();
    await engine.close();
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
