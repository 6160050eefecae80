import { expect, test } from 'vitest';
import { parseGauges } from './gauges.js';

test("vLLM's page is read, added up over its engine cores, without the _created twins", () => {
  const page = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_running{engine="1",model_name="m"} 10.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 3.0
vllm:cache_config_info{block_size="128",engine="0",kv_cache_size_tokens="46592",num_gpu_blocks="364"} 1.0
vllm:num_preemptions_total{engine="0",model_name="m"} 5.0
vllm:num_preemptions_created{engine="0",model_name="m"} 1.79e+09
`;
  expect(parseGauges(page, null)).toEqual({
    running: 22,
    waiting: 3,
    preemptions: 5,
    kvTokens: 46_592,
    slots: null,
  });
});

test('an older vLLM gives blocks and their size', () => {
  const page =
    'vllm:num_requests_running 1\nvllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\n';
  expect(parseGauges(page, null)?.kvTokens).toBe(1_600);
});

test("llama.cpp's page is read, with the slots of its properties", () => {
  const page = 'llamacpp:requests_processing 8\nllamacpp:requests_deferred 2\n';
  expect(parseGauges(page, 8)).toEqual({ running: 8, waiting: 2, preemptions: 0, kvTokens: null, slots: 8 });
});

test('times behind the values are no values', () => {
  const page =
    'vllm:num_requests_running{model_name="a b}c"} 7 1764350000000\nvllm:num_requests_waiting 2 1764350000000\n';
  expect(parseGauges(page, null)).toMatchObject({ running: 7, waiting: 2 });
});

test('a page of another program is none', () => {
  expect(parseGauges('process_cpu_seconds_total 3\n', null)).toBeNull();
  expect(parseGauges('<html>', null)).toBeNull();
});
