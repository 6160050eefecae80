import { type Clock, sleep } from '../clock.js';
import type { RunnerConfig } from '../config.js';
import { RunnerError, type RunnerErrorCode } from '../errors.js';
import { type RunnerLogger, reasonOf } from '../logger.js';
import { discoverEngine, type EngineInfo } from './discovery.js';
import { Engine } from './engine.js';
import { EngineLauncher } from './launcher.js';
import { normalizeEngineUrl } from './url.js';

export interface FleetOptions {
  readonly config: RunnerConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: RunnerLogger;
  /** Engines may take more or less than before. */
  readonly onChange: () => void;
  /** An engine came into use. */
  readonly onEngine: (engine: Engine) => void;
  /** An engine in use has other models than before. */
  readonly onModels: () => void;
  /** An engine fails everything for some model. */
  readonly onFailing: (engine: Engine) => void;
  /** The command line of an engine that is launched, without keys. */
  readonly onLaunch: (command: string) => void;
}

const RETRY_MS = 500;
const HOPELESS_RETRY_MS = 5_000;
const REMIND_MS = 15_000;
/** Waiting does not mend these. */
const HOPELESS: ReadonlySet<RunnerErrorCode> = new Set([
  'model_not_served',
  'unauthorized',
  'invalid_config',
]);

/** The engines of a runner: those that it was told of, and the one that it launches. */
export class EngineFleet {
  readonly engines: readonly Engine[];
  readonly #options: FleetOptions;
  readonly #launcher: EngineLauncher | null;
  readonly #stopping = new AbortController();
  readonly #hopeless = new Set<Engine>();

  private constructor(options: FleetOptions, launcher: EngineLauncher | null, urls: readonly string[]) {
    this.#options = options;
    this.#launcher = launcher;
    const { config, clock, random, logger, onChange, onModels, onFailing } = options;
    this.engines = urls.map(
      (url, index) =>
        new Engine({
          id: `engine-${index}`,
          url,
          apiKey: config.engineApiKey,
          limits: config,
          healthPath: config.engineHealthPath,
          elsewhere: (model) => this.#servesElsewhere(url, model),
          onModels,
          onFailing,
          random,
          listModels: () => this.#listModels(url),
          clock,
          logger,
          onChange,
        }),
    );
  }

  /** Launches what is to be launched; no engine has been asked for anything yet. */
  static async open(options: FleetOptions): Promise<EngineFleet> {
    const { config, clock, logger, onLaunch } = options;
    let fleet: EngineFleet | null = null;
    const launcher =
      config.launchCommand === null
        ? null
        : await EngineLauncher.start({
            command: config.launchCommand,
            environment: config.launchEnvironment,
            url: config.engineUrls[0] ?? null,
            graceMs: config.launchGraceMs,
            verbose: config.verbose,
            clock,
            logger,
            onExit: () => fleet?.engines[0]?.died(),
            onLaunch,
          });
    const urls = [...(launcher === null ? [] : [launcher.url]), ...config.engineUrls.map(normalizeEngineUrl)];
    fleet = new EngineFleet(options, launcher, [...new Set(urls)]);
    return fleet;
  }

  /** Models of all engines in use. */
  get models(): string[] {
    return [...new Set(this.engines.flatMap((engine) => engine.models))];
  }

  /**
   * Waits until one engine is in use; the others join when they answer.
   * @throws {RunnerError} the first engine's trouble, when none answered in time.
   */
  async firstReady(signal: AbortSignal): Promise<void> {
    const { config, clock } = this.#options;
    const troubles = new Map<Engine, RunnerError>();
    const joining = this.engines.map((engine) =>
      this.#join(engine, signal, (error) => troubles.set(engine, error)),
    );
    const waits: Promise<unknown>[] = [Promise.any(joining)];
    if (this.#launcher !== null) waits.push(this.#launcher.failed);
    else if (config.engineWaitMs > 0) waits.push(this.#timedOut(clock, config.engineWaitMs, troubles));
    try {
      await Promise.race(waits);
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error;
    }
  }

  /** Ends the launched engine and closes all connections. */
  async close(fast: boolean): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#launcher?.stop(fast), ...this.engines.map((engine) => engine.close())]);
  }

  async #timedOut(clock: Clock, waitMs: number, troubles: ReadonlyMap<Engine, RunnerError>): Promise<never> {
    await sleep(clock, waitMs, this.#stopping.signal);
    const [trouble] = troubles.values();
    throw trouble ?? new RunnerError('engine_unavailable', 'no engine answered in time');
  }

  #servesElsewhere(url: string, model: string): boolean {
    return this.engines.some((engine) => engine.url !== url && engine.capacityFor(model) > 0);
  }

  #discover(url: string, signal: AbortSignal): Promise<EngineInfo> {
    const { engineApiKey: apiKey, models: wanted } = this.#options.config;
    return discoverEngine({ url, apiKey, wanted, signal });
  }

  async #listModels(url: string): Promise<readonly string[] | null> {
    try {
      return (await this.#discover(url, this.#stopping.signal)).models;
    } catch (error) {
      const none = error instanceof RunnerError && ['no_models', 'model_not_served'].includes(error.code);
      return none ? [] : null;
    }
  }

  /** Takes one engine into use as soon as it answers. */
  async #join(engine: Engine, signal: AbortSignal, onTrouble: (error: RunnerError) => void): Promise<void> {
    const { clock, logger, onEngine } = this.#options;
    const stop = AbortSignal.any([signal, this.#stopping.signal]);
    let saidAtMs = Number.NEGATIVE_INFINITY;
    while (!stop.aborted) {
      try {
        const found = await this.#discover(engine.url, stop);
        this.#hopeless.delete(engine);
        await engine.connect(found);
        if (engine === this.engines[0]) this.#launcher?.markUseful();
        logger.debug({ engine: engine.url, models: found.models }, 'engine in use');
        onEngine(engine);
        return;
      } catch (error) {
        if (stop.aborted) break;
        const trouble =
          error instanceof RunnerError
            ? error
            : new RunnerError('engine_unavailable', reasonOf(error), error);
        onTrouble(trouble);
        // One of several may be mended while the others work.
        if (HOPELESS.has(trouble.code)) {
          this.#hopeless.add(engine);
          if (this.engines.every((one) => this.#hopeless.has(one))) throw trouble;
        }
        if (clock.nowMs() - saidAtMs >= REMIND_MS) {
          saidAtMs = clock.nowMs();
          logger.warn({ engine: engine.url }, this.#waitingText(engine, trouble));
        }
      }
      await sleep(clock, this.#hopeless.has(engine) ? HOPELESS_RETRY_MS : RETRY_MS, stop);
    }
    throw new RunnerError('engine_unavailable', 'stopped before an engine answered');
  }

  /** A launched engine is on its way: nobody has to start it. */
  #waitingText(engine: Engine, trouble: RunnerError): string {
    const launched = this.#launcher !== null && engine === this.engines[0];
    return launched && trouble.code === 'engine_unavailable'
      ? `waiting for the launched engine to answer at ${engine.url}`
      : `waiting for an engine: ${trouble.message}`;
  }
}
