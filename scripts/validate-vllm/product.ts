import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { EngineAccess } from './engine-access.ts';
import { sumOf } from './engine-access.ts';
import { freePort } from './vllm-server.ts';

const cliFile = fileURLToPath(new URL('../../packages/cli/bin/batch-infer.js', import.meta.url));
const READY_DEADLINE_MS = 120_000;
const JOB_DEADLINE_MS = 1_800_000;
const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

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
  readonly counts: { readonly succeeded: number };
}

/** `batch-infer up --engine-url …` in a folder of its own. */
export class Product implements AsyncDisposable {
  readonly #engine: EngineAccess;
  readonly #folder = mkdtempSync(join(tmpdir(), 'batch-infer-validate-'));
  readonly #url: string;
  readonly #runnerMetrics: string;
  readonly #child: ChildProcess;

  static async start(engine: EngineAccess): Promise<Product> {
    const product = new Product(engine, await freePort(), await freePort());
    await product.#ready();
    return product;
  }

  private constructor(engine: EngineAccess, port: number, metricsPort: number) {
    this.#engine = engine;
    this.#url = `http://127.0.0.1:${port}`;
    this.#runnerMetrics = `http://127.0.0.1:${metricsPort}/metrics`;
    const words = ['up', '--engine-url', engine.url, '--model', engine.model, '--port', String(port)];
    this.#child = spawn(process.execPath, [cliFile, ...words, '--data', join(this.#folder, 'data')], {
      cwd: this.#folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, BATCH_INFER_METRICS_PORT: String(metricsPort), NO_COLOR: '1' },
    });
    children.add(this.#child);
  }

  async #ready(): Promise<void> {
    let talk = '';
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new Error(`batch-infer up did not become ready:\n${talk}`));
      const timer = setTimeout(fail, READY_DEADLINE_MS);
      this.#child.once('exit', fail);
      this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        talk = (talk + text).slice(-20_000);
        if (!talk.includes('batch-infer up ready')) return;
        clearTimeout(timer);
        this.#child.off('exit', fail);
        resolve();
      });
    });
  }

  /** Runs a job to its end, and looks at runner and engine twice a second. */
  async run(
    name: string,
    bodies: readonly unknown[],
    options: Readonly<Record<string, unknown>> = {},
  ): Promise<JobRun> {
    const before = await this.#engine.metricsPage();
    const fromMs = performance.now();
    const items = bodies.map((body, index) => ({ custom_id: `${name}-${index}`, body }));
    const answer = await fetch(`${this.#url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `${name}-${Date.now()}` },
      body: JSON.stringify({
        model: this.#engine.model,
        endpoint: '/v1/chat/completions',
        items,
        ...options,
      }),
    });
    if (answer.status !== 202)
      throw new Error(`the job was refused: ${answer.status} ${await answer.text()}`);
    let job = (await answer.json()) as JobView;
    const samples: Sample[] = [];
    while (!ENDED.has(job.status)) {
      if (performance.now() - fromMs > JOB_DEADLINE_MS) throw new Error(`${name} did not end`);
      await delay(500);
      samples.push(await this.#sample());
      job = (await (await fetch(`${this.#url}/v1/jobs/${job.id}`)).json()) as JobView;
    }
    const ms = performance.now() - fromMs;
    const after = await this.#engine.metricsPage();
    const grown = (metric: string): number => sumOf(after, metric) - sumOf(before, metric);
    return {
      succeeded: job.counts.succeeded,
      items: items.length,
      ms,
      outputTokensPerSecond: (1_000 * grown('vllm:generation_tokens_total')) / ms,
      promptTokens: grown('vllm:prefix_cache_queries_total'),
      prefixHitRate: grown('vllm:prefix_cache_hits_total') / grown('vllm:prefix_cache_queries_total'),
      samples,
    };
  }

  async #sample(): Promise<Sample> {
    const [runner, engine] = await Promise.all([
      fetch(this.#runnerMetrics).then((page) => page.text()),
      this.#engine.metricsPage(),
    ]);
    return {
      window: sumOf(runner, 'batch_infer_runner_engine_window'),
      inFlight: sumOf(runner, 'batch_infer_runner_engine_in_flight'),
      running: sumOf(engine, 'vllm:num_requests_running'),
      waiting: sumOf(engine, 'vllm:num_requests_waiting'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await Promise.race([exited, delay(30_000, undefined, { ref: false })]);
    this.#child.kill('SIGKILL');
    children.delete(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
