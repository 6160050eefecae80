import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Engine } from './engine.js';
import { handleControl, handleRequest, type RouteState } from './routes.js';
import type { EngineSim, EngineSimOptions } from './types.js';

const HOST = '127.0.0.1';

/**
 * Starts a simulated OpenAI-compatible engine on loopback, with vLLM's routes, bodies, errors and metrics.
 * @throws when the port is taken.
 */
export async function startEngineSim(options: EngineSimOptions = {}): Promise<EngineSim> {
  const sockets = new Set<Socket>();
  const state: RouteState = {
    apiKey: options.apiKey,
    missingEndpoints: new Set(options.missingEndpoints),
    health: 200,
    metricsFault: { kind: 'none' },
    staleMetrics: '',
  };
  let server: Server | null = null;
  let port = options.port ?? 0;
  let reviveTimer: NodeJS.Timeout | null = null;
  const engine = new Engine(options, (reviveAfterMs) => die(reviveAfterMs));

  async function listen(): Promise<void> {
    if (server !== null) return;
    const created = createServer({ keepAliveTimeout: 5_000, noDelay: true }, (request, response) => {
      if (handleControl(sim, killConnections, request, response)) return;
      engine.whenThawed(() => handleRequest(engine, state, request, response));
    });
    created.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    server = created;
    await new Promise<void>((resolve, reject) => {
      created.once('error', reject);
      created.listen(port, HOST, 4096, resolve);
    });
    port = (created.address() as AddressInfo).port;
  }

  function killConnections(kept?: Socket): void {
    for (const socket of sockets) {
      if (socket !== kept) socket.resetAndDestroy();
    }
  }

  async function kill(): Promise<void> {
    if (reviveTimer !== null) clearTimeout(reviveTimer);
    const closing = server;
    server = null;
    const closed = new Promise<void>((resolve) =>
      closing === null ? resolve() : closing.close(() => resolve()),
    );
    killConnections();
    engine.restart();
    await closed;
  }

  function die(reviveAfterMs: number | undefined): void {
    // The promise cannot reject: closing a server that is open has no error.
    kill().then(() => {
      if (reviveAfterMs !== undefined) reviveTimer = setTimeout(() => void listen(), reviveAfterMs);
      options.onDie?.(reviveAfterMs !== undefined);
    }, rethrow);
  }

  const sim: EngineSim = {
    get url() {
      return `http://${HOST}:${port}`;
    },
    get port() {
      return port;
    },
    stats() {
      const { running, waiting } = engine.backend.gauges();
      return engine.log.stats(running, waiting);
    },
    requests: () => engine.log.records(),
    setFaults: (rules) => engine.setFaults(rules),
    setMetricsFault(fault) {
      state.staleMetrics = engine.metricsText(1);
      state.metricsFault = fault;
    },
    setHealth(status) {
      state.health = status;
    },
    setKvShare: (share) => engine.backend.setKvShare(share),
    freeze: () => engine.freeze(),
    thaw: () => engine.thaw(),
    killConnections: () => killConnections(),
    kill,
    revive: listen,
    close: kill,
  };
  await listen();
  return sim;
}

function rethrow(error: unknown): never {
  throw error;
}
