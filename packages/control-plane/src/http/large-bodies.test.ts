import { monitorEventLoopDelay } from 'node:perf_hooks';
import { LIMITS } from '@batch-infer/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, type TestApi } from './api-conformance.js';

/**
 * No body keeps everybody else waiting: heartbeats and health checks of all tenants go through the same loop. The bound is
 * far above what an idle machine needs, and far below what a body without bounds takes; the figure is printed.
 */
const MOST_MS = 3_000;

let api: TestApi;
let origin: string;
beforeAll(async () => {
  api = await openTestApi();
  origin = await api.listen();
});
afterAll(async () => {
  await api.close();
});

const MIB = 1024 * 1024;
const numbers = (count: number): string => `[${'1,'.repeat(count - 1)}1]`;
const hook = (types: string): string => `{"url":"https://example.com/","event_types":${types}}`;
const distinct = (count: number): string =>
  `{${Array.from({ length: count }, (_, at) => `"key-${at.toString(36)}":"v"`).join(',')}}`;
const items = (body: string): string =>
  `{"model":"m","items":[${Array.from({ length: LIMITS.inlineItems }, (_, at) => `{"custom_id":"q-${at}","body":${body}}`).join(',')}]}`;
const line = (body: string): string => `{"custom_id":"a","body":${body}}\n`;

const JSON_TYPE = 'application/json';
const LINES_TYPE = 'application/x-ndjson';

describe('the longest that others wait for', () => {
  it.each<[string, string, string, () => string, number[]]>([
    [
      'a list of a million bad elements',
      '/v1/webhook_endpoints',
      JSON_TYPE,
      () => hook(numbers(1_000_000)),
      [400],
    ],
    [
      'as many bad elements as are read',
      '/v1/webhook_endpoints',
      JSON_TYPE,
      () => hook(numbers(LIMITS.jsonValues - 10)),
      [400],
    ],
    [
      '75,000 pairs of metadata',
      '/v1/jobs',
      JSON_TYPE,
      () => `{"input":{},"metadata":${distinct(75_000)}}`,
      [400],
    ],
    ['250,000 statuses', '/v1/jobs/job_1/retry', JSON_TYPE, () => `{"status":${numbers(250_000)}}`, [400]],
    ['deep nesting', '/v1/jobs', JSON_TYPE, () => '['.repeat(16 * MIB), [400]],
    ['many small objects', '/v1/jobs', JSON_TYPE, () => `[${'{},'.repeat(4 * MIB)}{}]`, [400]],
    [
      'many keys in one object',
      '/v1/jobs',
      JSON_TYPE,
      () => `{"model":"m","input":${distinct(150_000)}}`,
      [400],
    ],
    [
      'white space',
      '/v1/jobs',
      JSON_TYPE,
      () => `{"model":"m","input":{"messages":[{}]${' '.repeat(15 * MIB)}}}`,
      [202],
    ],
    [
      'one long text',
      '/v1/jobs',
      JSON_TYPE,
      () => `{"model":"m","input":{"messages":[{"content":"${'é\\n'.repeat(3 * MIB)}"}]}}`,
      [202],
    ],
    [
      '10,000 items',
      '/v1/jobs',
      JSON_TYPE,
      () => items(`{"messages":[{"role":"user","content":"${'x'.repeat(1_400)}"}]}`),
      [202],
    ],
    [
      '10,000 items with as many faults',
      '/v1/jobs',
      JSON_TYPE,
      () => items('{"messages":[{}],"stream":true}').replaceAll('"custom_id"', '"customer"'),
      [400],
    ],
    [
      'a line of many small values',
      '/v1/jobs?model=m',
      LINES_TYPE,
      () => line(`{"messages":[${'{},'.repeat(4 * MIB)}{}]}`),
      [400],
    ],
    [
      'a line as large as it may be',
      '/v1/jobs?model=m',
      LINES_TYPE,
      () => line(`{"messages":[{"content":"${'x'.repeat(15 * MIB)}"}]}`),
      [202],
    ],
    [
      'many short lines',
      '/v1/jobs?model=m',
      LINES_TYPE,
      () => '{"body":{"messages":[{}]}}\n'.repeat(100_000),
      [202],
    ],
    ['as many bad lines', '/v1/jobs?model=m', LINES_TYPE, () => 'x\n'.repeat(MIB), [400]],
    [
      'requests of a message batch',
      '/v1/messages/batches',
      JSON_TYPE,
      () => `{"requests":[${'{},'.repeat(200_000)}{}]}`,
      [400],
    ],
    [
      'one request of a message batch',
      '/v1/messages/batches',
      JSON_TYPE,
      () => `{"requests":[{"custom_id":"a","params":{"a":${numbers(MIB)}}}]}`,
      [400],
    ],
  ])(
    '%s',
    async (name, path, type, body, statuses) => {
      const payload = Buffer.from(body());
      const delays = monitorEventLoopDelay({ resolution: 5 });
      delays.enable();
      const answer = await fetch(`${origin}${path}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: payload,
      });
      const text = await answer.text();
      delays.disable();
      const longestMs = Math.round(delays.max / 1e6);
      process.stdout.write(
        `${name}: ${(payload.length / MIB).toFixed(1)} MiB, longest wait ${longestMs} ms\n`,
      );
      expect(statuses, text.slice(0, 300)).toContain(answer.status);
      expect(longestMs).toBeLessThan(MOST_MS);
    },
    60_000,
  );
});
