import { parseGauges } from '../../packages/gpu-runner/dist/window/gauges.js';
import { type EngineAccess, sumOf, wordFor } from './engine-access.ts';
import type { Recording } from './recording.ts';
import type { Check } from './table.ts';

/** Every name that our window controller reads, and the counters of this table. */
const METRIC_NAMES = [
  ...['vllm:num_requests_running', 'vllm:num_requests_waiting', 'vllm:num_preemptions_total'],
  ...['vllm:cache_config_info', 'vllm:prefix_cache_queries_total', 'vllm:prefix_cache_hits_total'],
  ...['vllm:prompt_tokens_total', 'vllm:generation_tokens_total'],
];

export async function checkMetrics(engine: EngineAccess, recording: Recording): Promise<Check[]> {
  const page = await engine.metricsPage();
  recording.metrics(page);
  const missing = METRIC_NAMES.filter((name) => Number.isNaN(sumOf(page, name)));
  const gauges = parseGauges(page, null);
  return [
    {
      name: 'metric names that the runner reads',
      seen: missing.length === 0 ? `all ${METRIC_NAMES.length} there` : `missing: ${missing.join(', ')}`,
      holds: missing.length === 0,
    },
    {
      name: 'KV capacity read from `vllm:cache_config_info`',
      seen: gauges?.kvTokens == null ? 'none' : `${gauges.kvTokens} tokens`,
      holds: gauges?.kvTokens != null,
    },
  ];
}

interface ErrorProbe {
  readonly name: string;
  readonly body: (engine: EngineAccess, maxModelLen: number) => unknown;
  readonly status: number;
  readonly code: string;
}

const PROBES: readonly ErrorProbe[] = [
  {
    name: 'unknown model',
    body: (engine) => engine.chatBody('hello', 4, { model: 'no-such-model' }),
    ...{ status: 404, code: 'model_not_found' },
  },
  {
    name: 'prompt longer than the context',
    body: (engine, maxModelLen) => engine.chatBody('word '.repeat(maxModelLen + 500), 4),
    ...{ status: 400, code: 'context_length_exceeded' },
  },
  {
    name: 'prompt of far too many characters',
    body: (engine, maxModelLen) => engine.chatBody('word '.repeat(100 * maxModelLen), 4),
    ...{ status: 400, code: 'context_length_exceeded' },
  },
  {
    name: 'max_tokens longer than the context',
    body: (engine, maxModelLen) => engine.chatBody('hello', maxModelLen + 1),
    ...{ status: 400, code: 'context_length_exceeded' },
  },
  {
    name: 'temperature -1',
    body: (engine) => engine.chatBody('hello', 4, { temperature: -1 }),
    ...{ status: 400, code: 'invalid_request' },
  },
  {
    name: 'temperature "hot"',
    body: (engine) => engine.chatBody('hello', 4, { temperature: 'hot' }),
    ...{ status: 400, code: 'invalid_request' },
  },
  {
    name: 'max_tokens 0',
    body: (engine) => engine.chatBody('hello', 0),
    ...{ status: 400, code: 'invalid_request' },
  },
  { name: 'broken JSON', body: () => '{"model": ', ...{ status: 400, code: 'invalid_request' } },
];

export async function checkErrors(engine: EngineAccess, recording: Recording): Promise<Check[]> {
  const checks: Check[] = [];
  const maxModelLen = await engine.maxModelLen();
  for (const probe of PROBES) {
    const answer = await engine.ask(probe.body(engine, maxModelLen));
    recording.answer(probe.name, answer);
    const word = wordFor(answer);
    checks.push({
      name: `error: ${probe.name}`,
      seen: `${answer.status}, type ${typeIn(answer.body)} → \`${word}\``,
      holds: answer.status === probe.status && word === probe.code,
    });
  }
  return checks;
}

function typeIn(body: string): string {
  return /"type":\s*"([^"]*)"/.exec(body)?.[1] ?? 'none';
}

export async function checkAnswer(engine: EngineAccess, recording: Recording): Promise<Check[]> {
  const answer = await engine.ask(engine.chatBody('Say hello.', 8, { include_metrics: true }));
  recording.answer('chat completion', answer);
  const { metrics } = JSON.parse(answer.body) as { metrics?: Record<string, number> | null };
  const names = Object.keys(metrics ?? {});
  return [
    {
      name: 'an answer is a success, with its tokens',
      seen: answer.verdict?.ok === true ? `usage ${answer.verdict.usage?.join('/')}` : wordFor(answer),
      holds: answer.verdict?.ok === true && answer.verdict.usage?.[2] === 8,
    },
    {
      name: 'per-request metrics (`--enable-per-request-metrics`)',
      seen: names.length === 0 ? 'none' : names.join(', '),
      holds: names.includes('queue_time_ms'),
    },
  ];
}

/** Four prompts with one long beginning, one after the other: all but the first find it in the cache. */
export async function checkPrefixCounters(engine: EngineAccess, recording: Recording): Promise<Check[]> {
  const beginning = `${Date.now()} `.concat('The report of the committee on rivers goes on. '.repeat(60));
  const before = await engine.metricsPage();
  const cached: number[] = [];
  for (let index = 0; index < 4; index += 1) {
    const answer = await engine.ask(engine.chatBody(`${beginning}Question ${index}?`, 1));
    recording.answer(`long beginning, ${index === 0 ? 'first' : 'again'}`, answer);
    cached.push(answer.verdict?.ok === true ? (answer.verdict.usage?.[1] ?? 0) : 0);
  }
  const after = await engine.metricsPage();
  const grown = (name: string): number => sumOf(after, name) - sumOf(before, name);
  const hits = grown('vllm:prefix_cache_hits_total');
  return [
    {
      name: 'prefix cache counters, four prompts that share a long beginning',
      seen: `${grown('vllm:prefix_cache_queries_total')} tokens asked, ${hits} hit; \`cached_tokens\` ${cached.join(', ')}`,
      holds: hits > 0 && cached.slice(1).every((tokens) => tokens > 0),
    },
  ];
}
