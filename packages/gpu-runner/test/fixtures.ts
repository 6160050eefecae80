import { parseRunnerConfig, type RunnerConfig, type RunnerOptions } from '../src/config.js';
import type { RunnerLogger } from '../src/logger.js';

/** Chat lines `marker 0`, `marker 1`, … as a client writes them. */
export const chatLines = (count: number, marker = 'item'): string[] =>
  Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      custom_id: `${marker}-${index}`,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'sim-model', messages: [{ role: 'user', content: `${marker} ${index} end` }] },
    }),
  );

export const testConfig = (options: RunnerOptions): RunnerConfig => parseRunnerConfig(options, {});

const silent = (): void => {};
export const silentLogger: RunnerLogger = { debug: silent, info: silent, warn: silent, error: silent };

/** A logger that keeps what was said. */
export function recordingLogger(): RunnerLogger & { readonly messages: string[] } {
  const messages: string[] = [];
  const say = (_fields: object, message: string) => void messages.push(message);
  return { messages, debug: silent, info: say, warn: say, error: say };
}

/** Waits until `condition` holds; fails after `limitMs`. */
export async function until(condition: () => boolean, what: string, limitMs = 30_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
