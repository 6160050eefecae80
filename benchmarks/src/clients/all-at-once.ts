import { readFile, writeFile } from 'node:fs/promises';
import { Pool } from 'undici';

/** As many sockets as a process may open without being asked; an engine that runs a few hundred sees no end of them. */
const MOST_CONNECTIONS = 1_024;

/**
 * What `vllm run-batch` does, from outside of the engine: reads all lines, sends all requests at once in input order,
 * and writes all answers when the last one is there. Nothing is kept before that, nothing is tried again. The start of
 * the engine, which `vllm run-batch` waits for each time, is not in it.
 * @returns milliseconds
 * @throws when an answer is none
 */
export async function runAllAtOnce(options: {
  readonly engineUrl: string;
  readonly inputFile: string;
  readonly outputFile: string;
}): Promise<number> {
  const { engineUrl, inputFile, outputFile } = options;
  const startedAt = performance.now();
  const lines = (await readFile(inputFile, 'utf8')).trim().split('\n');
  const pool = new Pool(engineUrl, {
    connections: Math.min(lines.length, MOST_CONNECTIONS),
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const headers = { 'content-type': 'application/json' };
  const answers = await Promise.all(
    lines.map(async (line) => {
      const { custom_id: customId, url, body } = JSON.parse(line);
      const answer = await pool.request({ path: url, method: 'POST', headers, body: JSON.stringify(body) });
      const response = { status_code: answer.statusCode, body: await answer.body.json() };
      if (answer.statusCode !== 200) throw new Error(`${customId}: ${answer.statusCode}`);
      return JSON.stringify({ custom_id: customId, response, error: null });
    }),
  );
  await writeFile(outputFile, `${answers.join('\n')}\n`);
  const elapsedMs = performance.now() - startedAt;
  await pool.close();
  return elapsedMs;
}
