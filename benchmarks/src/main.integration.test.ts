import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const program = fileURLToPath(new URL('./main.ts', import.meta.url));

it('measures a cancelled job on real processes and prints a table', async () => {
  const { stdout } = await run(process.execPath, [program, '--only', 'cancel', '--repetitions', '1']);
  expect(stdout).toContain('## Cancel in the middle of a job');
  expect(stdout).toMatch(/\| in every run \|$/m);
});

it('names the measurements there are when it is asked for another', async () => {
  await expect(run(process.execPath, [program, '--only', 'speed'])).rejects.toMatchObject({
    stderr: expect.stringContaining('ratio, ingest, latency, crash, fault, cancel, memory'),
  });
});
