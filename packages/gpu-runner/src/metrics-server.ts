import { createServer, type Server } from 'node:http';
import { Counter, Gauge, Registry } from 'prom-client';
import type { Engine } from './engine/engine.js';
import { RunnerError } from './errors.js';
import { reasonOf } from './logger.js';
import type { RunnerStats } from './stats.js';

export interface MetricsServerOptions {
  readonly port: number;
  readonly stats: RunnerStats;
  readonly engines: readonly Engine[];
  readonly heldLeases: () => number;
  readonly ready: () => boolean;
}

export interface MetricsServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * `/metrics`, `/healthz` and `/readyz` (503 until it can take work and while it drains), on all interfaces: a scraper
 * and a kubelet come from outside.
 * @throws {RunnerError} `invalid_config` when the port is taken.
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const registry = buildRegistry(options);
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/metrics') {
      registry.metrics().then(
        (page) => response.writeHead(200, { 'content-type': registry.contentType }).end(page),
        () => response.writeHead(500).end(),
      );
    } else if (path === '/healthz') response.writeHead(200).end('ok\n');
    else if (path === '/readyz')
      response.writeHead(options.ready() ? 200 : 503).end(options.ready() ? 'ready\n' : 'not ready\n');
    else response.writeHead(404).end('not found\n');
  });
  const port = await listen(server, options.port);
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new RunnerError(
          'invalid_config',
          `--metrics-port ${port} cannot be used (${reasonOf(error)}): choose another one, or 0`,
          error,
        ),
      ),
    );
    server.listen(port, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/** Numbers are read when they are asked for: nothing is counted twice on the hot path. */
function buildRegistry({ stats, engines, heldLeases }: MetricsServerOptions): Registry {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name: `batch_infer_runner_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  const engineGauge = (name: string, help: string, read: (engine: Engine) => number): void => {
    new Gauge({
      name: `batch_infer_runner_${name}`,
      help,
      labelNames: ['engine', 'url'],
      registers,
      collect() {
        for (const engine of engines) this.set({ engine: engine.id, url: engine.url }, read(engine));
      },
    });
  };
  counter('items_succeeded_total', 'Items that ended with an answer', () => stats.succeeded);
  counter('items_failed_total', 'Items that failed for good', () => stats.failed);
  counter('attempts_total', 'Requests sent to engines', () => stats.attempts);
  counter('attempt_seconds_total', 'Time of all requests to engines', () => stats.attemptMs / 1_000);
  counter('input_tokens_total', 'Input tokens of answered items', () => stats.inputTokens);
  counter(
    'cached_input_tokens_total',
    'Input tokens that engines took from their prefix caches',
    () => stats.cachedTokens,
  );
  counter('output_tokens_total', 'Output tokens of answered items', () => stats.outputTokens);
  counter('shards_claimed_total', 'Leases taken', () => stats.claimed);
  counter('leases_lost_total', 'Leases lost', () => stats.leasesLost);
  counter('settles_total', 'Segments taken by the control plane', () => stats.settles);
  counter(
    'control_plane_failures_total',
    'Calls to the control plane that failed',
    () => stats.settleTroubles,
  );
  new Counter({
    name: 'batch_infer_runner_attempt_failures_total',
    help: 'Requests that failed, by cause',
    labelNames: ['code'],
    registers,
    collect() {
      this.reset();
      for (const [code, count] of stats.failures) this.inc({ code }, count);
    },
  });
  new Counter({
    name: 'batch_infer_runner_finish_reasons_total',
    help: 'Answers, by the word for why they ended; other: a word that is not listed',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset();
      for (const [reason, count] of stats.finishReasons) this.inc({ reason }, count);
    },
  });
  counter(
    'refused_outcomes_total',
    'Outcomes that the control plane did not take',
    () => stats.refusedOutcomes,
  );
  new Gauge({
    name: 'batch_infer_runner_leases',
    help: 'Leases held',
    registers,
    collect() {
      this.set(heldLeases());
    },
  });
  engineGauge('engine_in_flight', 'Requests at the engine', (engine) => engine.load.inFlight);
  engineGauge('engine_window', 'Requests kept in flight at most', (engine) => engine.load.window);
  engineGauge('engine_up', '1 when the engine takes work', (engine) => (engine.report.healthy ? 1 : 0));
  return registry;
}
