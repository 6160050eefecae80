import type { Target } from './prober.js';
import { Standing, type StandingOptions } from './standing.js';

/** Models and routes of one engine that are remembered: jobs name few, and a lost one is only learned again. */
const KEPT = 256;

/** What an engine's answers say of it, by route and model. */
export class Standings {
  readonly #options: (target: Target) => StandingOptions;
  readonly #byTarget = new Map<string, { readonly target: Target; readonly standing: Standing }>();

  constructor(options: (target: Target) => StandingOptions) {
    this.#options = options;
  }

  of(target: Target): Standing {
    const key = `${target.path} ${target.model}`;
    const known = this.#byTarget.get(key);
    if (known !== undefined) return known.standing;
    const standing = new Standing(this.#options(target));
    this.#byTarget.set(key, { target, standing });
    if (this.#byTarget.size > KEPT) {
      const idle = [...this.#byTarget].find(
        ([, entry]) => entry.standing.isIdle && entry.standing !== standing,
      );
      if (idle !== undefined) this.#byTarget.delete(idle[0]);
    }
    return standing;
  }

  /** Those that fail everything, the longest first. */
  get failing(): { readonly target: Target; readonly standing: Standing }[] {
    return [...this.#byTarget.values()]
      .filter(({ standing }) => standing.sinceMs !== null)
      .sort((left, right) => (left.standing.sinceMs ?? 0) - (right.standing.sinceMs ?? 0));
  }

  /** Since when every route that was used with this model has failed; `null`: one works, or none was used. */
  failingSinceMs(model: string): number | null {
    let sinceMs: number | null = null;
    for (const { target, standing } of this.#byTarget.values()) {
      if (target.model !== model) continue;
      if (standing.state !== 'failing' || standing.sinceMs === null) return null;
      sinceMs = Math.max(sinceMs ?? standing.sinceMs, standing.sinceMs);
    }
    return sinceMs;
  }

  close(): void {
    for (const { standing } of this.#byTarget.values()) standing.close();
  }
}
