import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { Pool } from 'undici';

export interface BareRun {
  readonly elapsedMs: number;
  readonly cpuSeconds: number;
  readonly failed: number;
}

/**
 * The floor: a pool of `concurrency` keep-alive connections, each busy at all times, answers appended to a file. No
 * retries, no order, nothing synced; the bodies were read and encoded before the clock started.
 */
export async function runBare(options: {
  readonly engineUrl: string;
  readonly bodies: readonly Buffer[];
  readonly concurrency: number;
  readonly outputFile: string;
}): Promise<BareRun> {
  const { engineUrl, bodies, concurrency, outputFile } = options;
  const pool = new Pool(engineUrl, {
    connections: concurrency,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 3_000,
  });
  const output = createWriteStream(outputFile);
  const headers = { 'content-type': 'application/json' };
  let next = 0;
  let failed = 0;
  const worker = async (): Promise<void> => {
    for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
      const answer = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body });
      const text = await answer.body.text();
      if (answer.statusCode !== 200) failed += 1;
      output.write(`${text}\n`);
    }
  };
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  output.end();
  await finished(output);
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  await pool.close();
  return { elapsedMs, cpuSeconds: (user + system) / 1e6, failed };
}
