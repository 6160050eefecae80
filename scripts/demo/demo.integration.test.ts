import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EngineUnavailableError, ensureEngine } from '../../examples/engine/ensure-engine.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Null when the engine can be had here; else why not. In CI its absence is a failure. */
async function whatIsMissing(): Promise<string | null> {
  try {
    await ensureEngine();
    return null;
  } catch (error) {
    if (!(error instanceof EngineUnavailableError) || process.env.CI === 'true') throw error;
    return error.message;
  }
}

const missing = await whatIsMissing();
if (missing !== null) console.error(`SKIPPED: the demo with a real model: ${missing}`);

describe.skipIf(missing !== null)('npm run demo', () => {
  it('carries 60 prompts through the whole product to a real model, and three in four answers are right', {
    timeout: 300_000,
  }, () => {
    const demo = spawnSync(
      process.execPath,
      ['scripts/demo/run-demo.mjs', '--limit', '60', '--min-accuracy', '0.75'],
      { cwd: root, encoding: 'utf8', timeout: 290_000 },
    );
    expect(demo.stderr + demo.stdout).toContain('60 of 60 answered');
    expect(demo.status).toBe(0);
    const lines = readFileSync(`${root}.local/demo/results.jsonl`, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(60);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ status: 'succeeded' });
  });
});
