import 'reflect-metadata';
import { resolve } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { KeyRing } from './access/key-ring.js';
import { AppModule } from './app.module.js';
import { startBackground } from './boot/background.js';
import { listenError, originOf, refuseOpenBind } from './boot/bind-address.js';
import { boundedClose } from './boot/close-server.js';
import { Heartbeat } from './boot/heartbeat.js';
import { fastifyOptions, prepareFastify } from './boot/http-server.js';
import {
  openCheckedBlobs,
  openKeyFile,
  openMigratedLedger,
  openPublisher,
  openSignalRelay,
  takeDataFolder,
} from './boot/open-ports.js';
import { Undo } from './boot/undo.js';
import type { ControlPlaneConfig } from './config.js';
import type { CorePorts } from './core.module.js';
import { Readiness } from './http/health/readiness.js';
import { RunnerSessions } from './leases/runner-sessions.js';
import { LedgerClock } from './ports/clock.js';
import { Signals } from './ports/signals.js';
import { RequestLimits } from './rate-limits/request-limits.js';
import { createLogger, type Logger } from './telemetry/logger.js';
import { Metrics } from './telemetry/metrics.js';

/** Limits of the steps of a stop; together with those of the others (2 s each) they stay below 30 s. */
const LOOPS_LIMIT_MS = 4_000;
const RELAY_LIMIT_MS = 1_000;
/** Longer than requests that run may take to end. */
const SERVER_LIMIT_MS = 10_500;

export interface ControlPlane {
  /** Origin of the bound address, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Drains and stops: not ready, no new work, running requests end, everything is closed. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Starts a control plane and resolves when it takes requests.
 *
 * @param options.signal closes it, as `close()` does
 * @param options.logger by default JSON lines on stderr at `config.logLevel`
 * @throws BootError when something it needs is missing; the message says what, and the next step
 */
export async function startControlPlane(
  config: ControlPlaneConfig,
  options: { logger?: Logger; signal?: AbortSignal } = {},
): Promise<ControlPlane> {
  const logger = options.logger ?? createLogger({ level: config.logLevel });
  const clock = new LedgerClock();
  const undo = new Undo(logger);
  let drainingSinceMs: number | null = null;
  try {
    const lock = await takeDataFolder(config, { logger });
    undo.add('data folder', () => lock?.release());
    const keyFile = await openKeyFile(config, { clock, logger });
    const ledger = await openMigratedLedger(config, { clock, logger });
    undo.add('ledger', () => ledger.close());
    const keyRing = new KeyRing({ ledger, clock });
    refuseOpenBind({ host: config.host, hasKeys: keyFile !== null || (await keyRing.hasKeys()) });
    const blobs = await openCheckedBlobs(config);
    undo.add('blobs', () => blobs.close());
    const publisher = await openPublisher(config, logger);
    undo.add('transport', () => publisher.close());
    const metrics = new Metrics();
    metrics.collectProcessMetrics();
    const ports: CorePorts = {
      config,
      ledger,
      blobs,
      publisher,
      clock,
      signals: new Signals(),
      logger,
      metrics,
      keyRing,
      keyFile,
    };

    const app = await NestFactory.create<NestFastifyApplication>(
      AppModule.forPorts(ports),
      new FastifyAdapter(fastifyOptions),
      { logger: false, abortOnError: false, bodyParser: false },
    );
    await prepareFastify(app.getHttpAdapter().getInstance(), {
      config,
      logger,
      keys: { ring: keyRing, file: keyFile },
      onRefused: (reason) => metrics.requestsRefused.inc({ reason }),
      limits: new RequestLimits({ ledger, clock, shared: config.databaseUrl !== null }),
    });
    await app.init();
    const closeServer = boundedClose(app.getHttpServer());
    undo.add('http server', () => closeServer(() => app.close()), SERVER_LIMIT_MS);

    const sessions = app.get(RunnerSessions);
    await sessions.start();
    const heartbeat = lock ? new Heartbeat(resolve(config.dataDir)) : null;
    const background = startBackground({ app, ports, heartbeat, clock });
    const relay = await openSignalRelay(config, ports);
    undo.add('signals', () => relay?.close(), RELAY_LIMIT_MS);
    undo.add('loops', () => background.stop(), LOOPS_LIMIT_MS);
    // Ends the runners' polls; the ledger is still open for what they report.
    undo.add('offers', () => publisher.close());
    undo.add('runner sessions', () => {
      drainingSinceMs = performance.now();
      logger.info('draining');
      app.get(Readiness).drain();
      ports.signals.emit('draining');
      sessions.close();
    });

    const url = await listen(app, config);
    lock?.setUrl(url);
    logger.info({ url, roles: config.roles }, 'control plane ready');
    const close = async () => {
      try {
        await undo.run();
      } finally {
        if (drainingSinceMs !== null) {
          logger.info({ seconds: Math.round(performance.now() - drainingSinceMs) / 1_000 }, 'stopped');
          drainingSinceMs = null;
        }
      }
    };
    options.signal?.addEventListener('abort', () => void close(), { once: true });
    return { url, close };
  } catch (error) {
    await undo.run();
    throw error;
  }
}

async function listen(app: NestFastifyApplication, config: ControlPlaneConfig): Promise<string> {
  try {
    await app.listen(config.port, config.host);
  } catch (error) {
    throw listenError(error, config);
  }
  const address = app.getHttpServer().address();
  const port = typeof address === 'object' && address !== null ? address.port : config.port;
  return originOf(config.host, port);
}
