import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Heartbeat } from './heartbeat.js';

it('a data folder remembers when a server last lived in it (I13)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-heartbeat-'));
  const first = new Heartbeat(folder);
  expect(first.lastMs()).toBeNull();
  first.beat(1_800_000_000_000);
  first.beat(1_800_000_001_000);
  expect(new Heartbeat(folder).lastMs()).toBe(1_800_000_001_000);
  rmSync(folder, { recursive: true });
});
