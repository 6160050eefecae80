import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isEndpoint } from '@batch-infer/contracts';
import { type Engine, sendError } from './engine.js';
import { METHOD_NOT_ALLOWED, NOT_FOUND, UNAUTHORIZED } from './error-bodies.js';
import { parseFaultRules } from './faults.js';
import type { EngineSim, MetricsFault } from './types.js';

/** vLLM's version that the bodies and metrics are modelled on. */
const VERSION = '0.32.0';

/** What the routes need beside the engine: switches that the owner of the server holds. */
export interface RouteState {
  readonly apiKey: string | undefined;
  readonly missingEndpoints: ReadonlySet<string>;
  health: number;
  metricsFault: MetricsFault;
  /** Text served while metrics are stale. */
  staleMetrics: string;
}

/** The engine's public routes. */
export function handleRequest(
  engine: Engine,
  state: RouteState,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const path = pathOf(request);
  if (path.startsWith('/v1/') && state.apiKey !== undefined) {
    if (request.headers.authorization !== `Bearer ${state.apiKey}`) {
      request.resume();
      sendError(response, UNAUTHORIZED);
      return;
    }
  }
  if (isEndpoint(path) && !state.missingEndpoints.has(path)) {
    if (request.method !== 'POST') {
      request.resume();
      sendError(response, METHOD_NOT_ALLOWED);
      return;
    }
    readBody(request, (body) => {
      engine.whenThawed(() => {
        if (!response.destroyed) engine.serve(path, body, request, response);
      });
    });
    return;
  }
  request.resume();
  switch (path) {
    case '/health':
    case '/ping':
      response.writeHead(state.health, { 'content-length': 0 }).end();
      break;
    case '/version':
      sendJson(response, { version: VERSION });
      break;
    case '/load':
      sendJson(response, { server_load: engine.inFlight });
      break;
    case '/v1/models':
      sendJson(response, modelList(engine));
      break;
    case '/metrics':
      sendMetrics(engine, state, response);
      break;
    default:
      sendError(response, NOT_FOUND);
  }
}

/** `/__sim/…`: the handle of a simulator that runs as another process. Works while frozen. Returns false elsewhere. */
export function handleControl(
  sim: EngineSim,
  killConnectionsBut: (kept: Socket) => void,
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const path = pathOf(request);
  if (!path.startsWith('/__sim/')) return false;
  readBody(request, (body) => {
    switch (`${request.method} ${path}`) {
      case 'GET /__sim/stats':
        return sendJson(response, sim.stats());
      case 'GET /__sim/requests':
        return sendJson(response, sim.requests());
      case 'POST /__sim/faults':
        return applyFaults(sim, body.toString('utf8'), response);
      case 'POST /__sim/freeze':
        sim.freeze();
        return sendJson(response, sim.stats());
      case 'POST /__sim/thaw':
        sim.thaw();
        return sendJson(response, sim.stats());
      case 'POST /__sim/kill-connections':
        killConnectionsBut(request.socket);
        return sendJson(response, sim.stats());
      default:
        sendError(response, NOT_FOUND);
    }
  });
  return true;
}

function applyFaults(sim: EngineSim, text: string, response: ServerResponse): void {
  try {
    sim.setFaults(parseFaultRules(text));
    sendJson(response, sim.stats());
  } catch (error) {
    sendError(response, { status: 400, body: JSON.stringify({ detail: String(error) }) });
  }
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/';
  const query = url.indexOf('?');
  return query === -1 ? url : url.slice(0, query);
}

function readBody(request: IncomingMessage, onBody: (body: Buffer) => void): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const [first] = chunks;
    onBody(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks));
  });
}

function sendJson(response: ServerResponse, value: unknown): void {
  sendError(response, { status: 200, body: JSON.stringify(value) });
}

function sendMetrics(engine: Engine, state: RouteState, response: ServerResponse): void {
  const fault = state.metricsFault;
  if (fault.kind === 'missing') {
    sendError(response, NOT_FOUND);
    return;
  }
  const text =
    fault.kind === 'stale'
      ? state.staleMetrics
      : engine.metricsText(fault.kind === 'scaled' ? fault.factor : 1);
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text);
}

function modelList(engine: Engine) {
  const created = Math.floor(engine.startedAt / 1000);
  return {
    object: 'list',
    data: engine.models.map((id) => ({
      id,
      object: 'model',
      created,
      owned_by: 'vllm',
      root: id,
      parent: null,
      max_model_len: engine.maxModelLen,
      permission: [],
    })),
  };
}
