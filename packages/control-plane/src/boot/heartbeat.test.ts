import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Heartbeat } from './heartbeat.js';

it('a data folder remembers when a server last lived in it (I13)', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-heartbeat-'));
  const first = new Heartbeat(folder);
  expect(await first.read()).toBeNull();
  await first.write(1_800_000_000_000);
  await first.write(1_800_000_001_000);
  expect(await new Heartbeat(folder).read()).toBe(1_800_000_001_000);
  rmSync(folder, { recursive: true });
});
