import { hash } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Endpoint } from '@batch-infer/contracts';
import { answerBody, answerEvents, type Generation } from './answer-bodies.js';
import type { Backend, BackendResult } from './backend.js';
import { badContentType, type ErrorAnswer, statusFault } from './error-bodies.js';
import { type FaultAction, FaultScript } from './faults.js';
import { echoText, type GenerationRequest, readGenerationRequest } from './generation-request.js';
import { renderMetrics } from './metrics.js';
import { DEFAULT_MODEL_OPTIONS } from './model-types.js';
import { unitHash } from './random.js';
import { type RequestEnd, RequestLog } from './request-log.js';
import { SlotsBackend } from './slots-backend.js';
import { StepBackend } from './step-backend.js';
import type { EngineSimOptions } from './types.js';

/** A request between its arrival and its end. */
interface Flight {
  readonly id: string;
  readonly request: GenerationRequest;
  readonly bodyHash: string;
  readonly response: ServerResponse;
  readonly action: FaultAction | null;
  readonly startedAtMs: number;
  /** The caller's own id, echoed as vLLM does. */
  readonly callerId: string | undefined;
  ended: boolean;
}

const defaults = {
  models: ['sim-model'],
  maxModelLen: 32_768,
  slots: 64,
  serviceTimeMs: 200,
  jitter: 0.2,
  outputTokens: 16,
  cachedTokens: 0,
  seed: 1,
} as const;

/** The life of generation requests: fault script, queue cap, backend, answer. Knows no routes and no sockets' life. */
export class Engine {
  readonly models: readonly string[];
  readonly maxModelLen: number;
  readonly log: RequestLog;
  readonly #options: EngineSimOptions;
  readonly #seed: number;
  readonly #modelSet: ReadonlySet<string>;
  readonly #onDie: (reviveAfterMs: number | undefined) => void;
  readonly #flights = new Set<Flight>();
  #faults: FaultScript;
  #backend: Backend;
  #ids = 0;
  /** What waits for `thaw`; null while not frozen. */
  #held: (() => void)[] | null = null;
  #startedAt = Date.now();
  #finished = { stop: 0, length: 0, abort: 0 };
  #latency = { count: 0, queueSeconds: 0, firstTokenSeconds: 0, endToEndSeconds: 0 };
  #admissionRejections = 0;

  constructor(options: EngineSimOptions, onDie: (reviveAfterMs: number | undefined) => void) {
    this.#options = options;
    this.#seed = options.seed ?? defaults.seed;
    this.models = options.models ?? defaults.models;
    // vLLM refuses to start with a context window larger than its KV memory.
    const kvTokens = options.mode === 'step' ? this.#kvBlocks * this.#blockSize : Number.POSITIVE_INFINITY;
    this.maxModelLen = Math.min(options.maxModelLen ?? defaults.maxModelLen, kvTokens);
    this.#modelSet = new Set(this.models);
    this.#onDie = onDie;
    this.log = new RequestLog(options.requestLog ?? true);
    this.#faults = new FaultScript(options.faults ?? [], this.#seed);
    this.#backend = this.#createBackend();
  }

  get #kvBlocks(): number {
    return this.#options.step?.numGpuBlocks ?? DEFAULT_MODEL_OPTIONS.numGpuBlocks;
  }

  get #blockSize(): number {
    return this.#options.step?.blockSize ?? DEFAULT_MODEL_OPTIONS.blockSize;
  }

  get backend(): Backend {
    return this.#backend;
  }

  get startedAt(): number {
    return this.#startedAt;
  }

  /** Requests that have arrived and not ended, for `/load`. */
  get inFlight(): number {
    return this.#flights.size;
  }

  setFaults(rules: NonNullable<EngineSimOptions['faults']>): void {
    this.#faults = new FaultScript(rules, this.#seed);
  }

  /** Runs now, or at `thaw` when frozen. */
  whenThawed(run: () => void): void {
    if (this.#held === null) run();
    else this.#held.push(run);
  }

  freeze(): void {
    this.#held ??= [];
    this.#backend.freeze();
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = null;
    this.#backend.thaw();
    for (const run of held) run();
  }

  /** Everything in flight is lost and the engine starts empty, as a new process would. */
  restart(): void {
    this.#backend.stop();
    for (const flight of [...this.#flights]) this.#end(flight, 'aborted');
    this.#held = null;
    this.#finished = { stop: 0, length: 0, abort: 0 };
    this.#latency = { count: 0, queueSeconds: 0, firstTokenSeconds: 0, endToEndSeconds: 0 };
    this.#admissionRejections = 0;
    this.#startedAt = Date.now();
    this.#backend = this.#createBackend();
  }

  metricsText(factor: number): string {
    const gauges = this.#backend.reportedGauges();
    const running = Math.round(gauges.running * factor);
    const waiting = Math.round(gauges.waiting * factor);
    return renderMetrics({
      gauges: { ...gauges, running, waiting },
      model: this.models[0] ?? '',
      numGpuBlocks: this.#kvBlocks,
      blockSize: this.#blockSize,
      createdAt: this.#startedAt / 1000,
      latency: this.#latency,
      finished: this.#finished,
      admissionRejections: this.#admissionRejections,
    });
  }

  /** Serves one generation request whose body has been read. */
  serve(path: Endpoint, rawBody: Buffer, incoming: IncomingMessage, response: ServerResponse): void {
    if (incoming.headers['content-type']?.startsWith('application/json') !== true) {
      sendError(response, badContentType(path));
      return;
    }
    const text = rawBody.toString('utf8');
    const request = readGenerationRequest(path, text, {
      models: this.#modelSet,
      maxModelLen: this.maxModelLen,
      outputTokens: this.#options.outputTokens ?? defaults.outputTokens,
    });
    if ('status' in request) {
      sendError(response, request);
      return;
    }

    const bodyHash = hash('sha1', rawBody);
    const attempt = this.log.arrive(bodyHash, request.lastUserText.slice(0, 40));
    const { body } = request;
    const chosen = this.#options.onRequest?.({ path, body, bodyHash, attempt, headers: incoming.headers });
    const action = chosen ?? this.#faults.decide({ path, rawBody: text, bodyHash, attempt });
    this.#ids += 1;
    const flight: Flight = {
      id: String(this.#ids),
      request,
      bodyHash,
      response,
      action,
      startedAtMs: performance.now(),
      callerId: callerIdOf(incoming.headers),
      ended: false,
    };
    this.#flights.add(flight);
    if (action !== null && this.#strikeOnArrival(flight, action)) return;
    const { maxQueuedRequests } = this.#options;
    if (maxQueuedRequests !== undefined && this.#backend.gauges().waiting >= maxQueuedRequests) {
      this.#admissionRejections += 1;
      this.#fail(flight, statusFault(path, 503));
      return;
    }
    this.#submit(flight, attempt);
  }

  #submit(flight: Flight, attempt: number): void {
    const { request, id } = flight;
    const { priority } = request.body;
    this.#backend.submit({
      id,
      promptText: request.promptText,
      promptTokens: request.promptTokens,
      outputTokens: request.outputTokens,
      priority: typeof priority === 'number' ? priority : 0,
      slowFactor: flight.action?.kind === 'slow' ? flight.action.factor : 1,
      jitterUnit: unitHash(`${flight.bodyHash}:${attempt}:service`, this.#seed),
      onDone: (result) => this.whenThawed(() => this.#answer(flight, result)),
    });
    if (!flight.ended) this.#watchDisconnect(flight);
  }

  /** vLLM aborts a request when its client goes away. */
  #watchDisconnect(flight: Flight): void {
    flight.response.once('close', () => {
      if (flight.ended) return;
      this.#end(flight, 'aborted');
      this.#backend.abort(flight.id);
    });
  }

  /** Returns true when the action ends the matter, or keeps the request out of the backend. */
  #strikeOnArrival(flight: Flight, action: FaultAction): boolean {
    switch (action.kind) {
      case 'status':
        if (action.at === 'completion') return false;
        this.#fail(
          flight,
          statusFault(flight.request.path, action.status, action.body),
          action.retryAfterSeconds,
        );
        return true;
      case 'reset':
        if (action.at === 'completion') return false;
        this.#reset(flight);
        return true;
      case 'hang':
        this.#watchDisconnect(flight);
        return true;
      case 'die':
        this.#end(flight, 'failed');
        this.#onDie(action.reviveAfterMs);
        return true;
      default:
        return false;
    }
  }

  #answer(flight: Flight, result: BackendResult): void {
    if (flight.ended) return;
    const { action, request, response } = flight;
    switch (action?.kind) {
      case 'status':
        this.#fail(flight, statusFault(request.path, action.status, action.body), action.retryAfterSeconds);
        break;
      case 'reset':
        this.#reset(flight);
        break;
      case 'garbage':
        this.#end(flight, 'failed');
        send(response, 200, '<html>simulated garbage, {"not": JSON', flight.callerId);
        break;
      case 'cutBody':
        this.#cut(flight, this.#render(flight, result, false));
        break;
      case 'abort':
        this.#end(flight, 'failed');
        this.#finished.abort += 1;
        this.#send(flight, this.#render(flight, result, true));
        break;
      default:
        this.#complete(flight, result);
    }
  }

  #complete(flight: Flight, result: BackendResult): void {
    const body = this.#render(flight, result, false);
    this.#end(flight, 'completed');
    this.#finished[flight.request.cutByLimit ? 'length' : 'stop'] += 1;
    this.#latency.count += 1;
    this.#latency.queueSeconds += result.queueTimeMs / 1000;
    this.#latency.firstTokenSeconds += result.timeToFirstTokenMs / 1000;
    this.#latency.endToEndSeconds += (performance.now() - flight.startedAtMs) / 1000;
    this.#send(flight, body);
  }

  #render(flight: Flight, result: BackendResult, aborted: boolean): string {
    const { request } = flight;
    const echo = echoText(request.body).padEnd(this.#options.outputCharacters ?? 0, '.');
    const generation: Generation = {
      text: aborted ? echo.slice(0, echo.length / 2) : echo,
      outputTokens: aborted ? Math.floor(request.outputTokens / 2) : request.outputTokens,
      finishReason: aborted ? 'abort' : request.cutByLimit ? 'length' : 'stop',
      ...result,
    };
    const context = {
      id: flight.callerId ?? `sim${flight.id.padStart(8, '0')}`,
      createdAt: Math.floor(Date.now() / 1000),
    };
    return this.#streams(flight)
      ? answerEvents(request, generation, context)
      : answerBody(request, generation, context);
  }

  #streams({ request }: Flight): boolean {
    return request.stream && (request.path === '/v1/chat/completions' || request.path === '/v1/completions');
  }

  #send(flight: Flight, body: string): void {
    const type = this.#streams(flight) ? 'text/event-stream; charset=utf-8' : 'application/json';
    send(flight.response, 200, body, flight.callerId, { 'content-type': type });
  }

  #fail(flight: Flight, answer: ErrorAnswer, retryAfterSeconds?: number): void {
    this.#end(flight, 'failed');
    sendError(flight.response, answer, retryAfterSeconds);
  }

  #reset(flight: Flight): void {
    this.#end(flight, 'failed');
    flight.response.socket?.resetAndDestroy();
  }

  #cut(flight: Flight, body: string): void {
    this.#end(flight, 'failed');
    const { response } = flight;
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    response.write(body.slice(0, body.length / 2), () => response.destroy());
  }

  #end(flight: Flight, end: RequestEnd): void {
    if (flight.ended) return;
    flight.ended = true;
    this.#flights.delete(flight);
    this.log.end(flight.bodyHash, end);
  }

  #createBackend(): Backend {
    const options = this.#options;
    const onRunning = (running: number) => this.log.noteRunning(running);
    if (options.mode === 'step') {
      return new StepBackend({ seed: this.#seed, ...options.step }, options.timeScale ?? 1, onRunning);
    }
    return new SlotsBackend(
      {
        slots: options.slots ?? defaults.slots,
        serviceTimeMs: options.serviceTimeMs ?? defaults.serviceTimeMs,
        jitter: options.jitter ?? defaults.jitter,
        cachedTokens: options.cachedTokens ?? defaults.cachedTokens,
      },
      onRunning,
    );
  }
}

function callerIdOf(headers: IncomingHttpHeaders): string | undefined {
  const id = headers['x-request-id'];
  return typeof id === 'string' ? id : undefined;
}

type ExtraHeaders = Readonly<Record<string, string>>;

function send(
  response: ServerResponse,
  status: number,
  body: string,
  requestId?: string,
  extra: ExtraHeaders = {},
): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
    ...extra,
  });
  response.end(body);
}

/** Writes an error answer, with `Retry-After` when given. */
export function sendError(response: ServerResponse, answer: ErrorAnswer, retryAfterSeconds?: number): void {
  const extra: ExtraHeaders =
    retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
  send(response, answer.status, answer.body, undefined, extra);
}
