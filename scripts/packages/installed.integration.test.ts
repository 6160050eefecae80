import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type EngineSim, startEngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'batch-infer-installed-'));
const environment = { ...process.env, PATH: `${root}node_modules/.bin:${process.env.PATH}` };
let engine: EngineSim;

/** Not the blocking kind: the engine of these tests lives in this process. */
async function run(
  command: string,
  words: readonly string[],
  folder = project,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, words, { cwd: folder, env: environment, timeout: 280_000 });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += String(text)));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

beforeAll(async () => {
  const publicPackages = readdirSync(`${root}packages`).filter((folder) => {
    const manifest = JSON.parse(readFileSync(`${root}packages/${folder}/package.json`, 'utf8'));
    return manifest.private !== true;
  });
  const packed = await run(
    'npm',
    [
      'pack',
      '--silent',
      '--pack-destination',
      project,
      ...publicPackages.map((folder) => `./packages/${folder}`),
    ],
    root,
  );
  expect(packed.code, packed.output).toBe(0);
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'empty', private: true, type: 'module' }),
  );
  const archives = readdirSync(project).filter((file) => file.endsWith('.tgz'));
  expect(archives).toHaveLength(publicPackages.length);
  const installed = await run('npm', [
    'install',
    '--no-audit',
    '--no-fund',
    ...archives.map((file) => `./${file}`),
  ]);
  expect(installed.code, installed.output).toBe(0);
  engine = await startEngineSim({ models: ['sim-model'], slots: 16, serviceTimeMs: 5 });
}, 300_000);

afterAll(async () => {
  await engine?.close();
  rmSync(project, { recursive: true, force: true });
});

describe('the published packages, installed in an empty project', () => {
  it('answer to npx batch-infer --version', async () => {
    const { version } = JSON.parse(readFileSync(`${root}packages/cli/package.json`, 'utf8'));
    expect(await run('npx', ['batch-infer', '--version'])).toMatchObject({
      code: 0,
      output: expect.stringContaining(version),
    });
  });

  it('give the SDK to an import', async () => {
    const script =
      "import { BatchInfer } from '@batch-infer/sdk'; console.log(typeof new BatchInfer().jobs.submit)";
    const { output } = await run(process.execPath, ['--input-type=module', '-e', script]);
    expect(output).toContain('function');
  });

  it('carry the licence', () => {
    for (const name of ['batch-infer', '@batch-infer/sdk', '@batch-infer/control-plane']) {
      expect(readFileSync(join(project, 'node_modules', name, 'LICENSE'), 'utf8')).toContain(
        'Apache License',
      );
    }
  });

  it('run a file through a local stack', { timeout: 60_000 }, async () => {
    const lines = Array.from({ length: 20 }, (_, index) => ({
      custom_id: `q-${index}`,
      body: { model: 'sim-model', messages: [{ role: 'user', content: `question ${index}` }] },
    }));
    writeFileSync(join(project, 'in.jsonl'), lines.map((line) => JSON.stringify(line)).join('\n'));
    const words = [
      'batch-infer',
      'run',
      'in.jsonl',
      '-o',
      'out.jsonl',
      '--local',
      '--engine-url',
      engine.url,
    ];
    const { code, output } = await run('npx', words);
    expect(code, output).toBe(0);
    expect(readFileSync(join(project, 'out.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(20);
  });
});
