import type { EngineGauges } from './controller.js';

interface GaugeNames {
  readonly running: string;
  readonly waiting: string;
  readonly preemptions: string | null;
}

/** Metric names of the servers that tell how busy they are. */
const DIALECTS: readonly GaugeNames[] = [
  {
    running: 'vllm:num_requests_running',
    waiting: 'vllm:num_requests_waiting',
    preemptions: 'vllm:num_preemptions_total',
  },
  { running: 'llamacpp:requests_processing', waiting: 'llamacpp:requests_deferred', preemptions: null },
  { running: 'sglang:num_running_reqs', waiting: 'sglang:num_queue_reqs', preemptions: null },
];

const CACHE_INFO = 'vllm:cache_config_info';

/**
 * Reads a Prometheus page; `null` when no known server wrote it. Values are added up over labels (vLLM has a line for
 * each engine core). Names are matched whole: every counter has a `_created` twin.
 */
export function parseGauges(page: string, slots: number | null): EngineGauges | null {
  const sums = new Map<string, number>();
  let kvTokens: number | null = null;
  for (const line of page.split('\n')) {
    if (line.startsWith('#') || line === '') continue;
    const name = /^[^{\s]+/.exec(line)?.[0] ?? '';
    if (name === CACHE_INFO) kvTokens = (kvTokens ?? 0) + cacheTokens(line);
    const value = numberIn(line);
    if (Number.isFinite(value)) sums.set(name, (sums.get(name) ?? 0) + value);
  }
  const names = DIALECTS.find((dialect) => sums.has(dialect.running));
  if (names === undefined) return null;
  return {
    running: sums.get(names.running) ?? 0,
    waiting: sums.get(names.waiting) ?? 0,
    preemptions: names.preemptions === null ? 0 : (sums.get(names.preemptions) ?? 0),
    kvTokens: kvTokens === 0 ? null : kvTokens,
    slots,
  };
}

/** The value behind name and labels; a time may follow it. */
function numberIn(line: string): number {
  const labelsEnd = line.lastIndexOf('}');
  const [, first = '', second = ''] = line.slice(labelsEnd + 1).split(/\s+/);
  return Number(labelsEnd === -1 || first !== '' ? first : second);
}

function cacheTokens(line: string): number {
  const label = (name: string): number => {
    const text = new RegExp(`[{,]${name}="([^"]*)"`).exec(line)?.[1];
    return text === undefined ? Number.NaN : Number(text);
  };
  const whole = label('kv_cache_size_tokens');
  if (Number.isFinite(whole)) return whole;
  const product = label('num_gpu_blocks') * label('block_size');
  return Number.isFinite(product) ? product : 0;
}
