import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { formatLogLine } from '../local/log-line.js';
import { PID_FILE_OPTION, tellPid, writePidFile } from '../local/pid-file.js';
import { readyLine } from '../local/ready-line.js';
import { LocalStack } from '../local/stack.js';
import { ENGINE_OPTIONS, type OptionSpec } from '../settings/options.js';
import { RUNNER_ONLY_OPTIONS, SERVE_OPTIONS } from '../settings/server-options.js';

/** All that its two parts take: what they advise in their messages must exist here. */
const without = (specs: readonly OptionSpec[], flags: readonly string[]): OptionSpec[] =>
  specs.filter(({ flag }) => !flags.includes(flag));

export const command: CommandDefinition = {
  name: 'up',
  description:
    'Start control plane and runner on this machine and keep them running. Without --engine-url and --launch it looks at the usual local ports: vLLM 8000, Ollama 11434, llama-server 8080, LM Studio 1234.',
  options: [
    ...ENGINE_OPTIONS,
    { flag: 'model', value: 'NAME', repeatable: true, description: 'serve only this model (repeatable)' },
    { flag: 'demo-model', description: 'a small model on the CPU, from a checkout of batch-infer' },
    ...without(SERVE_OPTIONS, ['roles', 'log-level']),
    ...without(RUNNER_ONLY_OPTIONS, ['server', 'model', 'kafka-brokers', 'api-key', 'log-level', 'verbose']),
    {
      flag: 'api-key',
      value: 'KEY',
      description: 'API key of the runner, where keys are wanted',
      secret: true,
    },
    { flag: 'log-level', value: 'LEVEL', description: 'of both parts (default: warn)' },
    { flag: 'verbose', description: 'show what a launched engine prints' },
    PID_FILE_OPTION,
  ],
  examples: [
    'batch-infer up --engine-url http://127.0.0.1:8000',
    'batch-infer up --launch "vllm serve MODEL --port 8000"',
    'batch-infer up --preset vllm-throughput --model MODEL',
  ],
  run,
};

async function run({ settings, io, interrupts }: CommandContext): Promise<number> {
  // The process that is to listen knows variables only, and would name one.
  settings.number('port', { min: 0, max: 65_535 });
  const say = (text: string) => io.writeError(`${text}\n`);
  const quiet = settings.isGiven('log-level') ? {} : { BATCH_INFER_LOG_LEVEL: 'warn' };
  await using _pidFile = await writePidFile(settings, io);
  await using stack = await LocalStack.start({
    settings,
    io: { ...io, environment: { ...quiet, ...io.environment } },
    interrupts,
    say,
    onLine: (part, line) => say(`[${part}] ${formatLogLine(line)}`),
  });
  say(`serving ${stack.models.join(', ')}`);
  tellPid(io);
  io.writeError(readyLine('up', stack.url));
  await interrupts.wait();
  say('stopping: requests in flight may end');
  return EXIT.ok;
}
