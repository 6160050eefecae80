import type { ModelGauges } from './model-types.js';

export interface MetricsInput {
  readonly gauges: ModelGauges;
  readonly model: string;
  readonly numGpuBlocks: number;
  readonly blockSize: number;
  /** Unix seconds, for the `_created` gauges. */
  readonly createdAt: number;
  readonly latency: LatencyTotals;
  readonly finished: Readonly<Record<'stop' | 'length' | 'abort', number>>;
  readonly admissionRejections: number;
}

/** Sums over all answered requests, in seconds. */
export interface LatencyTotals {
  readonly count: number;
  readonly queueSeconds: number;
  readonly firstTokenSeconds: number;
  readonly endToEndSeconds: number;
}

/** `/metrics` in vLLM's names. Every counter has its `_created` gauge, as prometheus_client writes it. */
export function renderMetrics(input: MetricsInput): string {
  const { gauges, latency } = input;
  const text = new MetricsText(input.model, input.createdAt);
  text.gauge('num_requests_running', gauges.running);
  text.gauge('num_requests_waiting', gauges.waiting);
  text.gauge('kv_cache_usage_perc', gauges.kvCacheUsage);
  text.gauge('cache_config_info', 1, {
    model_name: null,
    block_size: String(input.blockSize),
    kv_cache_size_tokens: String(input.blockSize * input.numGpuBlocks),
    num_gpu_blocks: String(input.numGpuBlocks),
  });
  text.counter('num_preemptions', gauges.preemptions);
  text.counter('prefix_cache_queries', gauges.prefixCacheQueries);
  text.counter('prefix_cache_hits', gauges.prefixCacheHits);
  text.counter('prompt_tokens', gauges.promptTokens);
  text.counter('prompt_tokens_cached', gauges.prefixCacheHits);
  text.counter('generation_tokens', gauges.generationTokens);
  for (const [reason, count] of Object.entries(input.finished)) {
    text.counter('request_success', count, { finished_reason: reason });
  }
  text.counter('admission_rejections', input.admissionRejections, {
    engine: null,
    reason: 'max_num_queued_reqs',
  });
  text.histogram('request_queue_time_seconds', latency.count, latency.queueSeconds);
  text.histogram('time_to_first_token_seconds', latency.count, latency.firstTokenSeconds);
  text.histogram('e2e_request_latency_seconds', latency.count, latency.endToEndSeconds);
  return text.toString();
}

/** `null` takes a label away that all others have. */
type Labels = Readonly<Record<string, string | null>>;

class MetricsText {
  readonly #lines: string[] = [];
  readonly #declared = new Set<string>();
  readonly #labels: Labels;
  readonly #createdAt: number;

  constructor(model: string, createdAt: number) {
    this.#labels = { engine: '0', model_name: model };
    this.#createdAt = createdAt;
  }

  gauge(name: string, value: number, labels: Labels = {}): void {
    this.#declare(name, 'gauge');
    this.#sample(name, value, labels);
  }

  counter(name: string, value: number, labels: Labels = {}): void {
    this.#declare(`${name}_total`, 'counter');
    this.#sample(`${name}_total`, value, labels);
    this.gauge(`${name}_created`, this.#createdAt, labels);
  }

  /** Without inner buckets: nothing here reads a quantile. */
  histogram(name: string, count: number, sum: number): void {
    this.#declare(name, 'histogram');
    this.#sample(`${name}_bucket`, count, { le: '+Inf' });
    this.#sample(`${name}_count`, count, {});
    this.#sample(`${name}_sum`, sum, {});
    this.gauge(`${name}_created`, this.#createdAt);
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  #declare(name: string, type: string): void {
    if (this.#declared.has(name)) return;
    this.#declared.add(name);
    this.#lines.push(`# HELP vllm:${name} Simulated.`, `# TYPE vllm:${name} ${type}`);
  }

  #sample(name: string, value: number, labels: Labels): void {
    const pairs = Object.entries({ ...this.#labels, ...labels }).flatMap(([label, text]) =>
      text === null ? [] : [`${label}="${text}"`],
    );
    this.#lines.push(`vllm:${name}{${pairs.join(',')}} ${Number.isInteger(value) ? `${value}.0` : value}`);
  }
}
