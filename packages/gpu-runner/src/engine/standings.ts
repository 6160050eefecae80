import type { Target } from './prober.js';
import { fullText } from './refusal.js';
import { Standing, type StandingOptions } from './standing.js';

/** Models and routes of one engine that are remembered: jobs name few, and a lost one is only learned again. */
const KEPT = 256;

interface Entry {
  readonly target: Target;
  readonly standing: Standing;
}

/** What an engine's answers say of it, by route and model. */
export class Standings {
  readonly #options: (target: Target) => StandingOptions;
  readonly #byTarget = new Map<string, Entry>();

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
  get failing(): Entry[] {
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

  /** Since when it has had no room for anything of a model; `null` while it has. */
  fullSinceMs(model: string): number | null {
    const full = this.#full(model);
    return full.length === 0 ? null : Math.min(...full.map(({ standing }) => standing.crowding.sinceMs ?? 0));
  }

  /** What it says then, for people. */
  fullness(model: string): string | null {
    const [entry] = this.#full(model);
    return entry === undefined ? null : fullText(entry.target, entry.standing.crowding.last);
  }

  #full(model: string): Entry[] {
    const used = [...this.#byTarget.values()].filter(({ target }) => target.model === model);
    return used.every(({ standing }) => standing.crowding.sinceMs !== null) ? used : [];
  }

  close(): void {
    for (const { standing } of this.#byTarget.values()) standing.close();
  }
}
