import type { Clock } from '../clock.js';
import type { RunnerLogger } from '../logger.js';
import type { EngineClient } from './client.js';
import { type EngineReply, isOutOfFiles } from './reply.js';

/** `silent`: it neither answers nor refuses, as a frozen process or one that has no thread left. */
export type Health = 'alive' | 'dead' | 'silent';

export interface HealthRouteOptions {
  readonly url: string;
  readonly client: Pick<EngineClient, 'get'>;
  /** `null`: no route of its own is asked; the list of models shows that the server is there. */
  readonly path: string | null;
  readonly clock: Clock;
  readonly logger: RunnerLogger;
  /** True while the engine has nothing to do and nothing is held against it. */
  readonly isIdle: () => boolean;
  /** Whether a small request of our own is answered. */
  readonly prove: () => Promise<boolean>;
}

const HEALTH_TIMEOUT_MS = 2_000;
const MODELS_PATH = '/v1/models';
/** Answers so recent show that the engine is there, whatever its health route says. */
const RECENT_MS = 2_000;

/** What an engine says of its health. Evidence from requests outranks it. */
export class HealthRoute {
  readonly #options: HealthRouteOptions;
  #passedAtMs = Number.NEGATIVE_INFINITY;
  /** It says that it is gone, and answers. */
  #lies = false;

  constructor(options: HealthRouteOptions) {
    this.#options = options;
  }

  /** A request was answered. */
  passed(): void {
    this.#passedAtMs = this.#options.clock.nowMs();
  }

  async ask(): Promise<Health> {
    const { client, path } = this.#options;
    const ask = () => client.get(path ?? MODELS_PATH, HEALTH_TIMEOUT_MS);
    const first = await ask();
    const reply = first.kind === 'broken' && first.broken === 'raced' ? await ask() : first;
    const health = healthOf(reply);
    if (health === 'alive') this.#lies = false;
    if (health !== 'dead' || reply.kind !== 'answer') return health;
    return (await this.#answersAllTheSame(reply.status)) ? 'alive' : 'dead';
  }

  async #answersAllTheSame(status: number): Promise<boolean> {
    const { clock, isIdle, prove, url, logger } = this.#options;
    const recent = clock.nowMs() - this.#passedAtMs < RECENT_MS;
    const answers = recent || (this.#lies && isIdle()) || (await prove());
    if (answers && !this.#lies) {
      logger.warn(
        { engine: url, status },
        `engine ${url} says ${status} on its health route and answers requests: it is used (--engine-health-path names another route, or off)`,
      );
    }
    this.#lies = answers;
    return answers;
  }
}

/** vLLM answers 503 when its engine is dead, llama.cpp while it loads; a server without the route is there all the same. */
function healthOf(reply: EngineReply): Health {
  if (reply.kind === 'answer') return reply.status >= 500 ? 'dead' : 'alive';
  // Without a free file of our own nothing can be asked: that is not the engine's end.
  return reply.kind === 'broken' && !isOutOfFiles(reply) ? 'dead' : 'silent';
}
