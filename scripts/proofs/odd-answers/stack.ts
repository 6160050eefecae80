import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ControlPlane,
  parseControlPlaneConfig,
  silentLogger,
  startControlPlane,
} from '@batch-infer/control-plane';
import { createLogger, parseRunnerConfig, type Runner, startRunner } from '@batch-infer/gpu-runner';
import { ENDPOINTS, type Endpoint, type EngineAnswer, oddAnswer, soundAnswer } from './answers.js';

/** Serves every endpoint, and one that has no `/v1/messages`: those are translated for it. */
export const MODEL = 'odd-model';
export const CHAT_MODEL = 'chat-model';

/** Names a request for the engine: it answers it oddly by its seed, or soundly. */
export const oddMarker = (seed: number): string => `odd-${seed}. says`;
export const soundMarker = (name: string): string => `sound-${name}. says`;

/** Asks for an answer of so many MiB. */
export const largeMarker = (mebibytes: number): string => `large-${mebibytes}. says`;

const SEED = /odd-(\d+)\./;
const LARGE = /large-(\d+)\./;
const MARKER = /(?:odd|sound|large)-[\w-]+\./;

/** An engine that counts how often it was sent each request. */
export class OddEngine {
  readonly sent = new Map<string, number>();
  readonly #server: Server;
  readonly #model: string;

  constructor(model: string) {
    this.#model = model;
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(({ status, contentType, body }) => {
        response.writeHead(status, { 'content-type': contentType, 'content-length': body.length }).end(body);
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage): Promise<EngineAnswer> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const path = request.url ?? '';
    if (path === '/v1/models')
      return json(200, { object: 'list', data: [{ id: this.#model, object: 'model' }] });
    if (path === '/health') return json(200, {});
    const endpoint = ENDPOINTS.find((one) => one === path);
    const lacks = this.#model === CHAT_MODEL && path === '/v1/messages';
    if (endpoint === undefined || lacks) return json(404, { detail: 'Not Found' });
    return this.#play(endpoint, Buffer.concat(chunks).toString());
  }

  #play(endpoint: Endpoint, body: string): EngineAnswer {
    const [marker] = MARKER.exec(body) ?? [];
    if (marker === undefined) return json(200, soundAnswer(endpoint, 'hello'));
    this.sent.set(marker, (this.sent.get(marker) ?? 0) + 1);
    const [, mebibytes] = LARGE.exec(marker) ?? [];
    if (mebibytes !== undefined) return largeAnswer(Number(mebibytes));
    const [, seed] = SEED.exec(marker) ?? [];
    return seed === undefined
      ? json(200, soundAnswer(endpoint, `${marker} says`))
      : oddAnswer(endpoint, Number(seed), `${marker} says`);
  }
}

const json = (status: number, value: object): EngineAnswer => ({
  ...{ status, contentType: 'application/json' },
  body: Buffer.from(JSON.stringify(value)),
});

/** Embeddings as an engine writes them, of about so many bytes. */
function largeAnswer(mebibytes: number): EngineAnswer {
  const numbers = Buffer.from('-0.012345678901234,');
  const body = Buffer.alloc(mebibytes * 1024 * 1024, numbers);
  const head = Buffer.from('{"object":"list","data":[{"object":"embedding","index":0,"embedding":[');
  const tail = Buffer.from('0]}],"usage":{"prompt_tokens":5,"total_tokens":5}}');
  const whole = body.subarray(0, body.length - (body.length % numbers.length));
  return { status: 200, contentType: 'application/json', body: Buffer.concat([head, whole, tail]) };
}

/** A control plane, two engines and their runner in this process: thousands of requests cost seconds. */
export class OddStack {
  readonly #folder = mkdtempSync(join(tmpdir(), 'batch-infer-odd-'));
  readonly engines: readonly OddEngine[] = [new OddEngine(MODEL), new OddEngine(CHAT_MODEL)];
  #controlPlane: ControlPlane | null = null;
  #runner: Runner | null = null;

  get url(): string {
    return this.#controlPlane?.url ?? '';
  }

  get runner(): Runner | null {
    return this.#runner;
  }

  async start(): Promise<void> {
    for (const engine of this.engines) await engine.start();
    const config = parseControlPlaneConfig({ BATCH_INFER_DATA: this.#folder, BATCH_INFER_PORT: '0' });
    this.#controlPlane = await startControlPlane(config, { logger: silentLogger() });
    const parameters = { server: this.url, engineUrl: this.engines.map(({ url }) => url), window: 64 };
    const logger = createLogger('silent');
    this.#runner = await startRunner(parseRunnerConfig(parameters, {}), { logger });
  }

  /** How often the engines were sent a request, by its marker without the last word. */
  sent(marker: string): number {
    const [key = ''] = MARKER.exec(marker) ?? [];
    return this.engines.reduce((sum, engine) => sum + (engine.sent.get(key) ?? 0), 0);
  }

  async close(): Promise<void> {
    await this.#runner?.drain({ fast: true });
    await this.#controlPlane?.close();
    for (const engine of this.engines) await engine.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
