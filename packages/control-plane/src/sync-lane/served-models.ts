import { setTimeout as delay } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { Fleet } from '../jobs/fleet.js';

/** What runners serve changes rarely: one look at the ledger serves all requests of this time. */
const FRESH_MS = 500;
/** A runner that starts again is away for some seconds. */
const GRACE_MS = 5_000;
const SHOWN_MODELS = 10;
/** Projects whose models are remembered. */
const KNOWN_PROJECTS = 1_000;

/**
 * Refuses requests for models that nobody serves. While no runner is connected at all, requests wait: then the fleet is
 * starting, and nothing is known of what it will serve.
 */
@Injectable()
export class ServedModels {
  readonly #fleet: Pick<Fleet, 'models'>;
  /** Runners of one project serve it alone. */
  readonly #known = new Map<string, { readonly ids: ReadonlySet<string>; readonly atMs: number }>();

  constructor(@Inject(Fleet) fleet: Pick<Fleet, 'models'>) {
    this.#fleet = fleet;
  }

  /** Resolves when the model is served, after some seconds of grace. @throws DomainError `model_not_served` */
  async require(
    model: string,
    options: { projectId: string; signal: AbortSignal; graceMs?: number },
  ): Promise<void> {
    const { projectId, signal, graceMs = GRACE_MS } = options;
    const deadline = performance.now() + graceMs;
    for (;;) {
      const served = await this.#served(projectId);
      if (served.size === 0 || served.has(model)) return;
      if (performance.now() >= deadline) throw notServed(served);
      await delay(FRESH_MS, undefined, { signal });
    }
  }

  async #served(projectId: string): Promise<ReadonlySet<string>> {
    const nowMs = performance.now();
    const known = this.#known.get(projectId);
    if (known !== undefined && nowMs - known.atMs < FRESH_MS) return known.ids;
    const ids = new Set((await this.#fleet.models(projectId)).map(({ id }) => id));
    if (this.#known.size >= KNOWN_PROJECTS) this.#known.clear();
    this.#known.set(projectId, { ids, atMs: nowMs });
    return ids;
  }
}

function notServed(served: ReadonlySet<string>): DomainError {
  const names = [...served].slice(0, SHOWN_MODELS).map((name) => `"${name}"`);
  const more = served.size > SHOWN_MODELS ? ` and ${served.size - SHOWN_MODELS} more` : '';
  return new DomainError(
    'model_not_served',
    `No runner serves this model. Served now: ${names.join(', ')}${more}.`,
    { param: 'model' },
  );
}
