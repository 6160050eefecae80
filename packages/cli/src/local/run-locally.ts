import type { BatchInfer, SubmitFileOptions } from '@batch-infer/sdk';
import type { CommandContext } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { followJob, readFollowOptions } from '../jobs/follow.js';
import type { InputFile } from '../jobs/input-file.js';
import { reportRefusedInput } from '../jobs/refused-input.js';
import { submitInput } from '../jobs/submit-input.js';
import type { ResultOutput } from '../output/result-output.js';
import type { Talk } from '../terminal/talk.js';
import { formatLogLine } from './log-line.js';
import { LocalStack } from './stack.js';

export interface LocalRun {
  readonly context: CommandContext;
  readonly talk: Talk;
  readonly options: SubmitFileOptions;
  readonly output: ResultOutput;
  readonly input: InputFile;
}

/**
 * One run on a stack of its own: checks the file, starts control plane and runner on a free port, submits, follows, and
 * stops them. Jobs stay in the data folder, so that the same command goes on where an interrupted one stopped.
 */
export async function runLocally(run: LocalRun): Promise<number> {
  const { context, talk, options, output, input } = run;
  const { settings, io, interrupts } = context;
  const report = await checkInput(input, options, interrupts.signal);
  if (!report.ok) return await reportRefusedInput(talk, input.name, report.errors, report.errorCount);

  const verbose = settings.switch('verbose');
  await using stack = await LocalStack.start({
    settings,
    io: { ...io, environment: { BATCH_INFER_LOG_LEVEL: 'warn', ...io.environment } },
    interrupts,
    serveVariables: { BATCH_INFER_PORT: '0', BATCH_INFER_HOST: '127.0.0.1' },
    runnerVariables: { BATCH_INFER_MODEL: onlyModel(report.models, options.model) },
    say: (text) => talk.say(text),
    onLine: (part, line) => {
      if (verbose) talk.warn(`[${part}] ${formatLogLine(line)}`);
    },
  });
  stack.requireModels(Object.keys(report.models), input.name);
  talk.say(`local stack at ${stack.url}, serving ${stack.models.join(', ')}`);

  const client = await connectTo(stack.url, settings.text('api-key'));
  const submission = await submitInput(client, input, { ...options, signal: interrupts.signal }, talk);
  if (submission.outcome === 'refused') return submission.exitCode;
  if (talk.quiet && !output.isStandardOutput) await io.writeOut(`${submission.job.id}\n`);
  const again = () => 'the same command again goes on where it stopped';
  const exitCode = await followJob(submission.job, readFollowOptions(settings, output, again), {
    talk,
    interrupts,
  });
  if (exitCode === EXIT.stillRunning)
    talk.say('the local stack stops with this command, and the job with it');
  return exitCode;
}

/** `--model` names what the runner serves, too, when every line uses it: engines such as llama.cpp take any name. */
const onlyModel = (models: Readonly<Record<string, number>>, model: string | undefined): string =>
  model !== undefined && Object.keys(models).every((name) => name === model) ? model : '';

async function checkInput(input: InputFile, options: SubmitFileOptions, signal: AbortSignal) {
  const { validateFile } = await import('@batch-infer/sdk/node');
  const { endpoint, model, defaults } = options;
  return await validateFile(input.path, {
    signal,
    // The server that is about to start knows which hosts are allowed, and says so itself.
    mediaHosts: 'any',
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(model === undefined ? {} : { model }),
    ...(defaults === undefined ? {} : { defaults }),
  });
}

async function connectTo(baseUrl: string, apiKey: string | undefined): Promise<BatchInfer> {
  const { BatchInfer } = await import('@batch-infer/sdk');
  return new BatchInfer({ baseUrl, maxRetries: 4, ...(apiKey === undefined ? {} : { apiKey }) });
}
