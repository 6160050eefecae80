import { newId } from '@batch-infer/contracts';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { OfferSubscriber } from '@batch-infer/transport';
import { type Clock, monotonicClock, sleep } from './clock.js';
import type { RunnerConfig } from './config.js';
import { EngineFleet } from './engine/fleet.js';
import { fileLimitWarning, openFileLimit } from './file-limit.js';
import { createLogger, type RunnerLogger, reasonOf } from './logger.js';
import { Dispatcher } from './loop/dispatcher.js';
import { Feeder } from './loop/feeder.js';
import { LeaseKeeper } from './loop/lease-keeper.js';
import { type MetricsServer, startMetricsServer } from './metrics-server.js';
import { type OfferSource, openOfferSubscriber } from './offers.js';
import { ServerClient } from './server/client.js';
import { OutageWaits } from './server/outage-waits.js';
import { runSession, type Welcome } from './server/session.js';
import { RateMeter, RunnerStats } from './stats.js';
import { RUNNER_VERSION } from './version.js';
import { ItemMemory } from './work/item.js';

/** A runner that can take work. */
export interface Runner {
  readonly runnerId: string;
  /** Models of all engines in use. */
  readonly models: readonly string[];
  readonly serverUrl: string;
  /** Origin of `/metrics`, `/healthz` and `/readyz`; `null` without `metricsPort`. */
  readonly metricsUrl: string | null;
  readonly stats: Readonly<RunnerStats>;
  /** What it tells the control plane of itself. */
  report(): RunnerReport;
  /**
   * Ends the runner: claims nothing more, lets requests in flight end for `drainTimeoutMs`, settles what is done, gives
   * the rest back, ends a launched engine. `fast`, also during a drain: aborts at once. Resolves when all is done.
   */
  drain(options?: { readonly fast?: boolean }): Promise<void>;
  /** Resolves after a drain; rejects with a `RunnerError` when the runner cannot go on. */
  readonly done: Promise<void>;
}

export interface RunnerDependencies {
  /** Default: JSON lines on stderr. */
  readonly logger?: RunnerLogger;
  /** Aborting it drains the runner, or ends its start. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Default: the transport that the control plane names. */
  readonly openSubscriber?: (source: OfferSource) => Promise<OfferSubscriber>;
  /** Is told the command line of an engine that is launched, for people: without keys. */
  readonly onLaunch?: (command: string) => void;
  /** How long all engines of a model may be away before its shards are given back. Default 20 s. */
  readonly engineDownMs?: number;
}

const TICK_MS = 200;
const RENEW_MS = 5_000;
/** Requests in flight that a steered window comes to, as a rule. */
const USUAL_WINDOW = 256;
const ENGINE_DOWN_MS = 20_000;
const SETTLE_AT_END_MS = 15_000;
const SETTLE_AT_FAST_END_MS = 500;

/**
 * Starts a runner. Resolves when it can take work: an engine answers and the control plane has welcomed it.
 * @throws {RunnerError} with the next step and an exit code.
 */
export async function startRunner(
  config: RunnerConfig,
  dependencies: RunnerDependencies = {},
): Promise<Runner> {
  const runner = new RunnerProcess(config, dependencies);
  try {
    await runner.start();
  } catch (error) {
    await runner.dispose();
    throw error;
  }
  return runner;
}

class RunnerProcess implements Runner {
  readonly runnerId = newId('run');
  readonly serverUrl: string;
  readonly stats = new RunnerStats();
  readonly done: Promise<void>;
  readonly #config: RunnerConfig;
  readonly #dependencies: RunnerDependencies;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #logger: RunnerLogger;
  readonly #server: ServerClient;
  readonly #memory = new ItemMemory();
  readonly #waits: OutageWaits;
  readonly #rate: RateMeter;
  readonly #stopping = new AbortController();
  readonly #hurry = new AbortController();
  #fleet: EngineFleet | null = null;
  #dispatcher: Dispatcher | null = null;
  #leases: LeaseKeeper | null = null;
  #feeder: Feeder | null = null;
  #metrics: MetricsServer | null = null;
  #welcome: Welcome | null = null;
  #draining: Promise<void> | null = null;
  #ready = false;
  #onIdle: () => void = () => {};
  #finish: (error?: unknown) => void = () => {};

  constructor(config: RunnerConfig, dependencies: RunnerDependencies) {
    this.#config = config;
    this.#dependencies = dependencies;
    this.serverUrl = config.serverUrl;
    this.#clock = dependencies.clock ?? monotonicClock;
    this.#random = dependencies.random ?? Math.random;
    this.#logger = dependencies.logger ?? createLogger(config.logLevel);
    this.#rate = new RateMeter(this.#clock.nowMs());
    this.#waits = new OutageWaits(this.#clock);
    this.#server = new ServerClient({ ...config, runnerId: this.runnerId });
    this.done = new Promise((resolve, reject) => {
      this.#finish = (error) => (error === undefined ? resolve() : reject(error));
    });
    // Whoever does not wait for the end must not be ended by it.
    this.done.catch(() => {});
  }

  get models(): readonly string[] {
    return this.#fleet?.models ?? [];
  }

  get metricsUrl(): string | null {
    return this.#metrics?.url ?? null;
  }

  async start(): Promise<void> {
    const signal = this.#startSignal();
    const fleet = await EngineFleet.open({
      config: this.#config,
      clock: this.#clock,
      logger: this.#logger,
      random: this.#random,
      onChange: () => this.#dispatcher?.fill(),
      onFailing: (engine) => this.#dispatcher?.forgive(engine),
      onModels: () => this.#modelsChanged(fleet),
      onEngine: (engine) => void this.#feeder?.serve(engine.models),
      onLaunch: (command) => this.#dependencies.onLaunch?.(command),
    });
    this.#fleet = fleet;
    const { proxyVariable } = this.#config;
    if (proxyVariable !== null) {
      this.#logger.warn(
        {},
        `${proxyVariable} is set: requests to engines and to the control plane go to them directly, not through a proxy`,
      );
    }
    const window = this.#config.window ?? this.#config.maxSequences ?? USUAL_WINDOW;
    const warning = fileLimitWarning(openFileLimit(), { engines: fleet.engines.length, window });
    if (warning !== null) this.#logger.warn({}, warning);
    await this.#startMetrics(fleet);
    await fleet.firstReady(signal);
    const { dispatcher, leases } = this.#assemble(fleet);
    const welcome = await this.#openSession(leases, signal);
    const openSubscriber = this.#dependencies.openSubscriber ?? openOfferSubscriber;
    const subscriber = await openSubscriber({
      config: this.#config,
      runnerId: this.runnerId,
      transport: welcome.transport,
      wantedOffers: () => this.#feeder?.wantedOffers ?? 1,
      logger: this.#logger,
    });
    this.#feeder = new Feeder({
      engines: fleet.engines,
      server: this.#server,
      subscriber,
      dispatcher,
      leases,
      memory: this.#memory,
      clock: this.#clock,
      waits: this.#waits,
      random: this.#random,
      stats: this.stats,
      logger: this.#logger,
      itemsPerSecond: () => this.#rate.perSecond,
    });
    void this.#renewLoop(leases);
    void this.#tickLoop(fleet, leases);
    await this.#feeder.serve(fleet.models);
    this.#ready = true;
  }

  report(): RunnerReport {
    const engines = this.#fleet?.engines.map((engine) => engine.report) ?? [];
    return {
      runner_id: this.runnerId,
      version: RUNNER_VERSION,
      models: [...this.models],
      engines,
      free_slots: this.#draining === null ? Math.floor(this.#feeder?.freeSlots ?? 0) : 0,
      in_flight: engines.reduce((sum, engine) => sum + engine.in_flight, 0),
      items_per_second: this.#rate.perSecond,
    };
  }

  drain(options: { readonly fast?: boolean } = {}): Promise<void> {
    if (options.fast) this.#hurry.abort();
    this.#draining ??= this.#drain().then(
      () => this.#finish(),
      (error) => this.#finish(error),
    );
    return this.#draining;
  }

  /** Lets go of everything without ado: the start failed, or the end has come. */
  async dispose(): Promise<void> {
    this.#ready = false;
    this.#stopping.abort();
    this.#leases?.abandon();
    await Promise.allSettled([this.#fleet?.close(this.#hurry.signal.aborted), this.#metrics?.close()]);
    await this.#server.close();
  }

  /** Tells the control plane at once, and takes offers of what the engines serve now. */
  #modelsChanged(fleet: EngineFleet): void {
    if (!this.#ready) return;
    this.#feeder?.update(fleet.models).catch((error: unknown) => {
      this.#logger.error({ reason: reasonOf(error) }, 'offers of the new models cannot be subscribed to');
    });
    void this.#leases?.renew(RENEW_MS);
  }

  #startSignal(): AbortSignal {
    const { signal } = this.#dependencies;
    if (signal === undefined) return this.#stopping.signal;
    signal.addEventListener('abort', () => void this.drain(), { once: true });
    return AbortSignal.any([signal, this.#stopping.signal]);
  }

  async #startMetrics(fleet: EngineFleet): Promise<void> {
    if (this.#config.metricsPort === null) return;
    this.#metrics = await startMetricsServer({
      port: this.#config.metricsPort,
      stats: this.stats,
      engines: fleet.engines,
      heldLeases: () => this.#leases?.runs.length ?? 0,
      ready: () => this.#ready,
    });
  }

  #assemble(fleet: EngineFleet): { dispatcher: Dispatcher; leases: LeaseKeeper } {
    const shared = { clock: this.#clock, random: this.#random, stats: this.stats, logger: this.#logger };
    const dispatcher = new Dispatcher({
      ...shared,
      engines: fleet.engines,
      itemsPerSecond: () => this.#rate.perSecond,
      unsettledBytes: () => this.#leases?.unsettledBytes ?? 0,
      onProgress: () => {
        this.#feeder?.check();
        this.#onIdle();
      },
    });
    const leases = new LeaseKeeper({
      ...shared,
      server: this.#server,
      dispatcher,
      waits: this.#waits,
      memory: this.#memory,
      report: () => this.report(),
    });
    this.#dispatcher = dispatcher;
    this.#leases = leases;
    return { dispatcher, leases };
  }

  /** Opens the session, which then lives until the end; resolves with the first welcome. */
  #openSession(leases: LeaseKeeper, signal: AbortSignal): Promise<Welcome> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      runSession({
        serverUrl: this.serverUrl,
        open: (report, sessionSignal) => this.#server.session(report, sessionSignal),
        report: () => this.report(),
        onWelcome: (welcome) => {
          this.#welcome = welcome;
          this.#waits.end();
          void this.#feeder?.rejoin();
          resolve(welcome);
        },
        onAway: () => void this.#feeder?.leave(),
        onStop: (stop) => void leases.stopJobs(stop.job_ids),
        clock: this.#clock,
        logger: this.#logger,
        random: this.#random,
        signal: this.#stopping.signal,
      }).catch((error: unknown) => {
        reject(error);
        // After the start: the control plane does not want us any more.
        if (this.#ready) void this.drain({ fast: true }).then(() => this.#finish(error));
        this.#finish(error);
      });
    });
  }

  async #renewLoop(leases: LeaseKeeper): Promise<void> {
    let held = true;
    while (!this.#stopping.signal.aborted) {
      const { renew_interval_ms: intervalMs, lease_ms: leaseMs } = this.#welcome ?? {
        renew_interval_ms: 10_000,
        lease_ms: 30_000,
      };
      const waitMs = held ? intervalMs : Math.min(intervalMs, 1_000) * (0.5 + this.#random() / 2);
      if (!(await sleep(this.#clock, waitMs, this.#stopping.signal))) return;
      held = await leases.renew(Math.max(500, Math.min(10_000, leaseMs / 3)));
    }
  }

  async #tickLoop(fleet: EngineFleet, leases: LeaseKeeper): Promise<void> {
    const engineDownMs = this.#dependencies.engineDownMs ?? ENGINE_DOWN_MS;
    while (await sleep(this.#clock, TICK_MS, this.#stopping.signal)) {
      leases.checkDeadlines();
      this.#rate.tick(this.stats.ended, this.#clock.nowMs());
      for (const run of leases.runs) {
        const serving = fleet.engines.filter((engine) => engine.serves(run.lease.model));
        const away =
          // What no engine serves any more is others' work.
          serving.every((engine) => engine.awayMs(run.lease.model) >= engineDownMs);
        if (away && run.phase === 'open') void leases.end(run, 'engine_down');
      }
      this.#feeder?.check();
    }
  }

  async #drain(): Promise<void> {
    this.#ready = false;
    const leases = this.#leases;
    await this.#within(1_000, this.#feeder?.close() ?? Promise.resolve());
    if (leases !== null) {
      for (const run of leases.runs) leases.hold(run);
      await this.#within(this.#config.drainTimeoutMs, this.#idle(leases));
      const settled = Promise.all(leases.runs.map((run) => leases.end(run, 'drain')));
      if (this.#hurry.signal.aborted) {
        await Promise.race([settled, sleep(this.#clock, SETTLE_AT_FAST_END_MS, this.#stopping.signal)]);
      } else await this.#within(SETTLE_AT_END_MS, settled);
    }
    await this.dispose();
  }

  /** Waits for `work`, but no longer than `limitMs`, and not at all in a hurry. */
  async #within(limitMs: number, work: Promise<unknown>): Promise<void> {
    const enough = new AbortController();
    const waited = sleep(this.#clock, limitMs, AbortSignal.any([this.#hurry.signal, enough.signal]));
    await Promise.race([work, waited]);
    enough.abort();
  }

  /** Resolves when no request is in flight any more. */
  #idle(leases: LeaseKeeper): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = () => {
        const busy = leases.runs.some((run) => [...run.items].some((item) => item.call !== null));
        if (!busy) resolve();
      };
      this.#onIdle();
    });
  }
}
