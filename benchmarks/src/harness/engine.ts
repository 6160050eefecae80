import { fileURLToPath } from 'node:url';
import type { FaultRule, SimRequestRecord, SimStats } from '@batch-infer/testkit';
import { JsonClient } from './http.ts';
import { Part } from './part.ts';

export interface EngineSettings {
  readonly slots: number;
  /** 0: answers at once. */
  readonly serviceMs: number;
  /** Keep a record of each request: needed to tell what ran twice, dear in memory for big jobs. */
  readonly requestLog?: boolean;
  /** More flags of engine-sim. */
  readonly flags?: readonly string[];
}

export const MODEL = 'sim-model';

/** Pads answers so that a line of results is about 1.3 KB. */
const OUTPUT_CHARACTERS = 750;

const PROGRAM = fileURLToPath(import.meta.resolve('@batch-infer/testkit/engine-sim/main'));

export function describeEngine({ slots, serviceMs }: EngineSettings): string {
  return serviceMs === 0 ? 'instant' : `${slots} slots × ${serviceMs} ms`;
}

/** The simulated engine in its own process. */
export class Engine {
  readonly url: string;
  readonly #part: Part;
  readonly #client: JsonClient;

  private constructor(part: Part, url: string) {
    this.#part = part;
    this.url = url;
    this.#client = new JsonClient(url, 2);
  }

  static async start({ slots, serviceMs, requestLog = false, flags = [] }: EngineSettings): Promise<Engine> {
    const part = await Part.start({
      name: 'engine-sim',
      file: PROGRAM,
      parameters: [
        ...['--port', '0', '--model', MODEL, '--slots', String(slots), '--service-ms', String(serviceMs)],
        ...['--output-characters', String(OUTPUT_CHARACTERS)],
        ...(requestLog ? [] : ['--no-request-log']),
        ...flags,
      ],
      ready: /^engine-sim ready (http\S+)/,
    });
    return new Engine(part, part.readyMatch[1] ?? '');
  }

  stats(): Promise<SimStats> {
    return this.#client.json('/__sim/stats');
  }

  requests(): Promise<SimRequestRecord[]> {
    return this.#client.json('/__sim/requests');
  }

  async setFaults(rules: readonly FaultRule[]): Promise<void> {
    await this.#client.post('/__sim/faults', rules);
  }

  async stop(): Promise<void> {
    await this.#client.close();
    await this.#part.stop();
  }
}
