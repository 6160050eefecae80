import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseControlPlaneConfig } from '../config.js';
import { startControlPlane } from '../start-control-plane.js';
import { silentLogger } from '../telemetry/logger.js';

let parent = '';
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'batch-infer-modes-'));
});
afterEach(() => {
  rmSync(parent, { recursive: true });
});

/** Everything in the folder, itself included, that group or others may use, as `0755 path`. */
function openToOthers(folder: string): string[] {
  const paths = [
    folder,
    ...readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  ];
  return paths.flatMap((path) => {
    const mode = statSync(path).mode & 0o777;
    return (mode & 0o077) === 0 ? [] : [`${mode.toString(8)} ${relative(folder, path)}`];
  });
}

/** Starts a server on the folder, gives it a job and looks at the modes while it runs. */
async function runOn(folder: string, warnings: unknown[] = []): Promise<string[]> {
  const config = parseControlPlaneConfig({ BATCH_INFER_DATA: folder, BATCH_INFER_PORT: '0' });
  const logger = silentLogger();
  logger.warn = (fields: unknown) => warnings.push(fields);
  const server = await startControlPlane(config, { logger });
  try {
    const items = [{ custom_id: 'a', body: { model: 'm', messages: [{ role: 'user', content: 'x' }] } }];
    const answer = await fetch(`${server.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ items }),
    });
    expect(answer.status).toBeLessThan(300);
    return openToOthers(folder);
  } finally {
    await server.close();
  }
}

describe('a data folder', () => {
  it("and all files that a server makes in it are its owner's only, whatever the umask", async () => {
    const folder = join(parent, 'data');
    expect(await runOn(folder)).toEqual([]);
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(['blobs', 'ledger.db', 'lock.db']));
  });

  it('of an earlier version is tightened at the start', async () => {
    const folder = join(parent, 'data');
    await runOn(folder);
    for (const name of ['ledger.db', 'lock.db', 'alive']) chmodSync(join(folder, name), 0o644);
    chmodSync(folder, 0o755);
    expect(await runOn(folder)).toEqual([]);
  });

  it('that holds other things keeps its mode; what is ours in it is private', async () => {
    const folder = join(parent, 'project');
    mkdirSync(folder, { mode: 0o755 });
    writeFileSync(join(folder, 'README.md'), '', { mode: 0o644 });
    expect(await runOn(folder)).toEqual(['755 ', '644 README.md']);
  });
});
