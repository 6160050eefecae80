import type { Logger } from '../telemetry/logger.js';

/** Longest time that a step may take. */
const LIMIT_MS = 2_000;

interface Step {
  readonly name: string;
  readonly run: () => unknown;
  readonly limitMs: number;
}

/**
 * What has to be closed, in the reverse order of its opening. Every step is tried, whatever the others do, and one that
 * does not end in its time is left behind: a stop is bounded whatever hangs.
 */
export class Undo {
  readonly #steps: Step[] = [];
  readonly #logger: Logger;
  #running: Promise<void> | null = null;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @param limitMs longest time for the step; 2 s by default */
  add(name: string, run: () => unknown, limitMs: number = LIMIT_MS): void {
    this.#steps.push({ name, run, limitMs });
  }

  /** Runs once; later calls wait for the same end. */
  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#steps.reverse()) {
      try {
        await this.#bounded(step);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything could be closed');
  }

  async #bounded({ name, run, limitMs }: Step): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#logger.warn({ step: name, limitMs }, 'did not end in time; it is left behind');
        resolve();
      }, limitMs);
    });
    const done = (async () => run())();
    // It may still fail when nobody waits for it any more.
    done.catch(() => undefined);
    try {
      await Promise.race([done, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
