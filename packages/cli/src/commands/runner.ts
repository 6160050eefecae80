import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { PID_FILE_OPTION, tellPid, writePidFile } from '../local/pid-file.js';
import { readyLine } from '../local/ready-line.js';
import { ENGINE_OPTIONS } from '../settings/options.js';
import { toOptions } from '../settings/pass-on.js';
import { RUNNER_ONLY_OPTIONS } from '../settings/server-options.js';

const OPTIONS = [...RUNNER_ONLY_OPTIONS.slice(0, 1), ...ENGINE_OPTIONS, ...RUNNER_ONLY_OPTIONS.slice(1)];

export const command: CommandDefinition = {
  name: 'runner',
  description: 'Start a runner: takes work from the control plane and keeps your engines full.',
  options: [...OPTIONS, PID_FILE_OPTION],
  examples: [
    'batch-infer runner --engine-url http://127.0.0.1:8000',
    'batch-infer runner --server https://batch.example --launch "vllm serve MODEL --port 8000"',
    'batch-infer runner --preset vllm-throughput --model MODEL',
    'batch-infer runner --preset vllm-shared --launch "vllm serve MODEL --max-num-seqs 128"',
  ],
  run,
};

async function run({ settings, io, interrupts }: CommandContext): Promise<number> {
  const { parseRunnerConfig, startRunner } = await import('@batch-infer/gpu-runner');
  const config = parseRunnerConfig(toOptions(settings, OPTIONS), { ...io.environment });
  await using _pidFile = await writePidFile(settings, io);
  const runner = await startRunner(config, {
    signal: interrupts.signal,
    onLaunch: (command) => io.writeError(`launching: ${command}\n`),
  });
  interrupts.lastMoment = () => runner.drain({ fast: true });
  tellPid(io);
  io.writeError(readyLine('runner', `${runner.models.join(',')} → ${runner.serverUrl}`));
  // The aborted signal drains it; `done` rejects when it cannot go on.
  await runner.done;
  return EXIT.ok;
}
