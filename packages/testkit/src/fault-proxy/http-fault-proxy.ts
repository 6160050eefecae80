import { createServer, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http';
import { LoopbackListener } from './loopback-listener.js';

export interface FaultProxyOptions {
  /** Where requests go, for instance `http://127.0.0.1:8080`. Only its host and port are used. */
  readonly target: string;
  /** Default 0, which takes a free port. */
  readonly port?: number;
  /** Delay of every request before it is forwarded. Default 0. */
  readonly latencyMs?: number;
}

/** Which requests a cut strikes. */
export interface CutRule {
  /** The next so many matching requests. Default 1. */
  readonly count?: number;
  /** Default any. */
  readonly method?: string;
  /** Default any. */
  readonly pathPrefix?: string;
  /** How the client's connection ends: `reset` (RST, the default) or `close` (FIN). Not one byte is sent. */
  readonly end?: 'reset' | 'close';
}

export interface FaultProxyCounters {
  readonly connections: number;
  readonly requests: number;
  /** Requests that the target answered, whether or not the client saw it. */
  readonly answered: number;
  readonly cutResponses: number;
  readonly cutRequests: number;
  /** Connections reset by `dropConnections`. */
  readonly droppedConnections: number;
}

export interface FaultProxy {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  counters(): FaultProxyCounters;
  /** Forwards everything again: no cuts, no latency, port open. */
  pass(): Promise<void>;
  /** The target answers in full, then the client's connection is destroyed: the work is done, the answer is lost. */
  cutResponseAfterUpstreamAnswered(rule?: CutRule): void;
  /** The client's connection is destroyed and the target never hears of the request. */
  cutRequestBeforeUpstream(rule?: CutRule): void;
  /** Resets every open connection once. */
  dropConnections(): void;
  setLatencyMs(latencyMs: number): void;
  /** Sends later requests to another target. */
  setTarget(target: string): void;
  /** Closes the port: connecting is refused until `pass`. */
  refuse(): Promise<void>;
  close(): Promise<void>;
}

interface ActiveCut {
  readonly kind: 'response' | 'request';
  readonly rule: CutRule;
  remaining: number;
}

/** Headers that belong to one connection and are not forwarded. */
const HOP_HEADERS: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'proxy-connection', 'expect']);

/** Starts an HTTP proxy on loopback that loses answers, requests or connections when told to. */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const totals = { requests: 0, answered: 0, cutResponses: 0, cutRequests: 0, droppedConnections: 0 };
  let target = new URL(options.target);
  let latencyMs = options.latencyMs ?? 0;
  let cuts: ActiveCut[] = [];

  const listener = new LoopbackListener(
    () => createServer({ noDelay: true }, (request, response) => receive(request, response)),
    options.port ?? 0,
  );

  function receive(request: IncomingMessage, response: ServerResponse): void {
    totals.requests += 1;
    const cut = takeCut(request);
    if (cut?.kind === 'request') {
      totals.cutRequests += 1;
      endConnection(request, cut.rule);
      return;
    }
    if (latencyMs > 0) setTimeout(() => forward(request, response, cut), latencyMs);
    else forward(request, response, cut);
  }

  function takeCut(request: IncomingMessage): ActiveCut | null {
    const cut = cuts.find(({ rule, remaining }) => {
      const { method, pathPrefix } = rule;
      if (remaining === 0 || (method !== undefined && method !== request.method)) return false;
      return pathPrefix === undefined || (request.url ?? '').startsWith(pathPrefix);
    });
    if (cut === undefined) return null;
    cut.remaining -= 1;
    return cut;
  }

  function forward(request: IncomingMessage, response: ServerResponse, cut: ActiveCut | null): void {
    if (response.destroyed) return;
    const upstream = sendRequest({
      host: target.hostname,
      port: target.port,
      method: request.method,
      path: request.url,
      headers: withoutHopHeaders(request.rawHeaders),
      // A connection for each request: no race with the target's keep-alive time, which would look like a fault.
      agent: false,
    });
    upstream.on('error', () => request.socket.resetAndDestroy());
    response.on('close', () => {
      // A cut request is carried to its end at the target even when its client goes away first.
      if (!response.writableFinished && cut === null) upstream.destroy();
    });
    upstream.on('response', (answer) => {
      answer.on('error', () => request.socket.resetAndDestroy());
      answer.on('end', () => {
        totals.answered += 1;
      });
      if (cut === null) {
        response.sendDate = false;
        response.writeHead(
          answer.statusCode ?? 502,
          answer.statusMessage,
          withoutHopHeaders(answer.rawHeaders),
        );
        answer.pipe(response);
        return;
      }
      answer.resume();
      answer.on('end', () => {
        totals.cutResponses += 1;
        endConnection(request, cut.rule);
      });
    });
    request.pipe(upstream);
  }

  const proxy: FaultProxy = {
    get url() {
      return `http://127.0.0.1:${listener.port}`;
    },
    get port() {
      return listener.port;
    },
    counters: () => ({ connections: listener.connections, ...totals }),
    async pass() {
      cuts = [];
      latencyMs = 0;
      await listener.open();
    },
    cutResponseAfterUpstreamAnswered(rule = {}) {
      cuts.push({ kind: 'response', rule, remaining: rule.count ?? 1 });
    },
    cutRequestBeforeUpstream(rule = {}) {
      cuts.push({ kind: 'request', rule, remaining: rule.count ?? 1 });
    },
    dropConnections() {
      totals.droppedConnections += listener.drop();
    },
    setLatencyMs(value) {
      latencyMs = value;
    },
    setTarget(value) {
      target = new URL(value);
    },
    refuse: () => listener.close(),
    close: () => listener.close(),
  };
  await listener.open();
  return proxy;
}

function endConnection(request: IncomingMessage, { end = 'reset' }: CutRule): void {
  if (end === 'reset') request.socket.resetAndDestroy();
  else request.socket.destroy();
}

function withoutHopHeaders(rawHeaders: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (!HOP_HEADERS.has(name.toLowerCase())) kept.push(name, rawHeaders[index + 1] ?? '');
  }
  return kept;
}
