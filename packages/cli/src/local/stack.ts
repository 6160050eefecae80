import { CliError, usageError } from '../cli-error.js';
import type { Interrupts } from '../interrupts.js';
import type { Io } from '../io.js';
import { ENGINE_OPTIONS } from '../settings/options.js';
import { namedAsGiven, toVariables } from '../settings/pass-on.js';
import { RUNNER_ONLY_OPTIONS, SERVE_OPTIONS } from '../settings/server-options.js';
import type { Settings } from '../settings/settings.js';
import { chooseEngine } from './choose-engine.js';
import { SupervisedChild } from './supervised-child.js';

export interface StackOptions {
  readonly settings: Settings;
  readonly io: Io;
  readonly interrupts: Interrupts;
  /** Variables that outrank the settings, for the control plane. */
  readonly serveVariables?: Readonly<Record<string, string>>;
  /** The same for the runner. */
  readonly runnerVariables?: Readonly<Record<string, string>>;
  readonly say: (text: string) => void;
  /** What the children print. */
  readonly onLine: (part: 'serve' | 'runner', line: string) => void;
}

/** Control plane and runner as children of this process. */
export class LocalStack implements AsyncDisposable {
  readonly url: string;
  /** What the runner serves. */
  readonly models: readonly string[];
  readonly #children: readonly SupervisedChild[];

  private constructor(url: string, models: readonly string[], children: readonly SupervisedChild[]) {
    this.url = url;
    this.models = models;
    this.#children = children;
  }

  /**
   * Starts both; resolves when both can take work.
   *
   * @throws CliError when there is no engine or a part does not come up; the Interrupt when the user stops it.
   */
  static async start(options: StackOptions): Promise<LocalStack> {
    const { settings, io, interrupts, say } = options;
    const engine = await chooseEngine(settings, { entry: io.entry, say });
    let url = '';
    const common = { entry: io.entry, environment: io.environment, workingDirectory: io.workingDirectory };
    const child = (part: 'serve' | 'runner', variables: () => Record<string, string>) =>
      new SupervisedChild({
        ...common,
        part,
        variables,
        onLine: (line) => options.onLine(part, line),
        onRestart: (delayMs) => say(`${part} ended unexpectedly; it starts again in ${delayMs / 1000} s`),
      });
    const serve = child('serve', () => ({
      ...toVariables(settings, SERVE_OPTIONS),
      ...options.serveVariables,
      // A restart comes back where the runner and the clients know it.
      ...(url === '' ? {} : { BATCH_INFER_PORT: new URL(url).port }),
    }));
    const runner = child('runner', () => ({
      ...toVariables(settings, [...ENGINE_OPTIONS, ...RUNNER_ONLY_OPTIONS]),
      ...options.runnerVariables,
      ...engine.variables,
      BATCH_INFER_SERVER: url,
    }));
    const stack = { children: [runner, serve] };
    interrupts.lastMoment = () => stopAll(stack.children);
    try {
      url = await untilInterrupted(serve.start(), interrupts);
      const ready = await untilInterrupted(runner.start(), interrupts);
      const models = ready.slice(0, ready.lastIndexOf(' → ')).split(',');
      return new LocalStack(url, models, stack.children);
    } catch (error) {
      await stopAll(stack.children);
      throw named(error, settings);
    }
  }

  /** The first model of `wanted` that is not served, as an error. */
  requireModels(wanted: readonly string[], file: string): void {
    const missing = wanted.filter((model) => !this.models.includes(model));
    if (missing.length === 0) return;
    throw usageError(
      `${file} names ${missing.length === 1 ? 'a model' : 'models'} that no engine here serves: ${missing.join(', ')}. Served: ${this.models.join(', ')}`,
      'correct the file, name a served model with --model where lines have none, or add an engine with --engine-url',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopAll(this.#children);
  }
}

/** The parts were given variables; their complaints are told in the words in which the user gave them. */
function named(error: unknown, settings: Settings): unknown {
  if (!(error instanceof CliError)) return error;
  const specs = [...SERVE_OPTIONS, ...ENGINE_OPTIONS, ...RUNNER_ONLY_OPTIONS];
  const { exitCode, message, next } = error;
  return new CliError(exitCode, namedAsGiven(message, settings, specs), next, { cause: error });
}

/** The runner first: it hands results and unfinished work to the control plane, which must still be there. */
async function stopAll(children: readonly SupervisedChild[]): Promise<void> {
  for (const child of children) await child.stop();
}

async function untilInterrupted<Value>(work: Promise<Value>, interrupts: Interrupts): Promise<Value> {
  return await Promise.race([
    work,
    interrupts.wait().then((interrupt): never => {
      throw interrupt;
    }),
  ]);
}
