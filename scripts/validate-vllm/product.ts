import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CliProcess } from './cli-process.ts';
import { EngineAccess, sumOf } from './engine-access.ts';
import type { InstalledVllm } from './install-vllm.ts';
import { freePort, OFFLINE } from './vllm-server.ts';

const READY_DEADLINE_MS = 120_000;
const LAUNCH_DEADLINE_MS = 600_000;
const STOP_LIMIT_MS = 30_000;
const JOB_DEADLINE_MS = 1_800_000;
const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

/** What stood in the metrics of runner and engine at one moment of a job. */
export interface Sample {
  readonly window: number;
  readonly inFlight: number;
  readonly running: number;
  readonly waiting: number;
}

export interface JobRun {
  readonly succeeded: number;
  readonly items: number;
  readonly ms: number;
  readonly outputTokensPerSecond: number;
  /** By the engine's own counters, as the next one. */
  readonly promptTokens: number;
  readonly prefixHitRate: number;
  readonly samples: readonly Sample[];
}

interface JobView {
  readonly id: string;
  readonly status: string;
  readonly counts: { readonly succeeded: number; readonly failed: number };
}

interface Parts {
  readonly folder: string;
  readonly url: string;
  readonly runnerMetrics: string;
  readonly engine: EngineAccess;
  /** In the order in which they are stopped. */
  readonly processes: readonly CliProcess[];
}

/** Control plane and runner in a folder of their own. */
export class Product implements AsyncDisposable {
  readonly engine: EngineAccess;
  readonly #parts: Parts;

  /** `batch-infer up --engine-url …`. */
  static async start(engine: EngineAccess): Promise<Product> {
    const { folder, port, url, metricsPort, runnerMetrics } = await places();
    const words = ['up', '--engine-url', engine.url, '--model', engine.model, '--port', String(port)];
    const up = await CliProcess.start({
      ...{ words: [...words, '--data', join(folder, 'data')], folder, readyDeadlineMs: READY_DEADLINE_MS },
      environment: { BATCH_INFER_METRICS_PORT: String(metricsPort) },
    });
    return new Product({ folder, url, runnerMetrics, engine, processes: [up] });
  }

  /** `batch-infer serve`, and `batch-infer runner` with a preset that launches vLLM; and what it said it launches. */
  static async launch(
    { command, weightsFolder, modelName }: InstalledVllm,
    flags: readonly string[],
  ): Promise<{ product: Product; runner: CliProcess; launched: string }> {
    const { folder, port, url, metricsPort, runnerMetrics } = await places();
    const serve = await CliProcess.start({
      words: ['serve', '--port', String(port), '--data', join(folder, 'data')],
      ...{ folder, readyDeadlineMs: READY_DEADLINE_MS },
    });
    const words = [command, 'serve', weightsFolder, '--served-model-name', modelName, ...flags];
    const launch = words.map((word) => `'${word}'`).join(' ');
    const runner = await CliProcess.start({
      words: [
        ...['runner', '--server', url, '--preset', 'vllm-cpu', '--launch', launch],
        ...['--metrics-port', String(metricsPort)],
      ],
      ...{ folder, readyDeadlineMs: LAUNCH_DEADLINE_MS, environment: OFFLINE },
    }).catch(async (error: unknown) => {
      await serve.stop(STOP_LIMIT_MS);
      throw error;
    });
    const launched = /^launching: (.*)$/m.exec(runner.talk)?.[1] ?? '';
    const enginePort = /--port (\d+)/.exec(launched)?.[1] ?? '';
    const engine = new EngineAccess(`http://127.0.0.1:${enginePort}`, modelName, null);
    const parts = { folder, url, runnerMetrics, engine, processes: [runner, serve] };
    return { product: new Product(parts), runner, launched };
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.engine = parts.engine;
  }

  /** Runs a job to its end, and looks at runner and engine twice a second. */
  async run(
    name: string,
    bodies: readonly unknown[],
    options: Readonly<Record<string, unknown>> = {},
  ): Promise<JobRun> {
    const before = await this.engine.metricsPage();
    const fromMs = performance.now();
    let job = await this.submit(name, bodies, options);
    const samples: Sample[] = [];
    while (!ENDED.has(job.status)) {
      if (performance.now() - fromMs > JOB_DEADLINE_MS) throw new Error(`${name} did not end`);
      await delay(500);
      samples.push(await this.#sample());
      job = await this.look(job.id);
    }
    const ms = performance.now() - fromMs;
    const after = await this.engine.metricsPage();
    const grown = (metric: string): number => sumOf(after, metric) - sumOf(before, metric);
    return {
      succeeded: job.counts.succeeded,
      items: bodies.length,
      ms,
      outputTokensPerSecond: (1_000 * grown('vllm:generation_tokens_total')) / ms,
      promptTokens: grown('vllm:prefix_cache_queries_total'),
      prefixHitRate: grown('vllm:prefix_cache_hits_total') / grown('vllm:prefix_cache_queries_total'),
      samples,
    };
  }

  async submit(
    name: string,
    bodies: readonly unknown[],
    options: Readonly<Record<string, unknown>> = {},
  ): Promise<JobView> {
    const items = bodies.map((body, index) => ({ custom_id: `${name}-${index}`, body }));
    const answer = await fetch(`${this.#parts.url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `${name}-${Date.now()}` },
      body: JSON.stringify({ model: this.engine.model, endpoint: '/v1/chat/completions', items, ...options }),
    });
    if (answer.status !== 202)
      throw new Error(`the job was refused: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as JobView;
  }

  async look(jobId: string): Promise<JobView> {
    return (await (await fetch(`${this.#parts.url}/v1/jobs/${jobId}`)).json()) as JobView;
  }

  async #sample(): Promise<Sample> {
    const [runner, engine] = await Promise.all([
      fetch(this.#parts.runnerMetrics).then((page) => page.text()),
      this.engine.metricsPage(),
    ]);
    return {
      window: sumOf(runner, 'batch_infer_runner_engine_window'),
      inFlight: sumOf(runner, 'batch_infer_runner_engine_in_flight'),
      running: sumOf(engine, 'vllm:num_requests_running'),
      waiting: sumOf(engine, 'vllm:num_requests_waiting'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.#parts.processes) await part.stop(STOP_LIMIT_MS);
    rmSync(this.#parts.folder, { recursive: true, force: true });
  }
}

async function places() {
  const [port, metricsPort] = [await freePort(), await freePort()];
  return {
    folder: mkdtempSync(join(tmpdir(), 'batch-infer-validate-')),
    port,
    url: `http://127.0.0.1:${port}`,
    metricsPort,
    runnerMetrics: `http://127.0.0.1:${metricsPort}/metrics`,
  };
}
