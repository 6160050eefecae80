import { unitHash } from './random.js';

/** When a rule applies. Every condition given must hold; none given means always. */
export interface FaultMatch {
  /** Share of requests, 0 to 1, chosen by seed, body and attempt: the same requests in every run. */
  readonly rate?: number;
  /** The raw body contains this text. */
  readonly bodyIncludes?: string;
  readonly pathPrefix?: string;
  /** Only the first attempts of a body, up to this number. */
  readonly firstAttempts?: number;
  /** Every n-th request for which the other conditions hold. */
  readonly everyNth?: number;
  /** At most this many times in all. */
  readonly times?: number;
}

/** `at` says whether the fault strikes when the request arrives (the default) or when its answer would be ready. */
export type FaultAction =
  | {
      readonly kind: 'status';
      readonly status: number;
      /** Sent as `Retry-After`. */
      readonly retryAfterSeconds?: number;
      /** The whole body, of whatever type; default: an error as the engine words it. */
      readonly body?: string;
      readonly at?: 'arrival' | 'completion';
    }
  /** The connection is reset. */
  | { readonly kind: 'reset'; readonly at?: 'arrival' | 'completion' }
  /** No answer ever comes. */
  | { readonly kind: 'hang' }
  /** 200 with a body that is not JSON. */
  | { readonly kind: 'garbage' }
  /** 200 with half of the text and `finish_reason: "abort"`, as vLLM does when it shuts down. */
  | { readonly kind: 'abort' }
  /** The answer takes this many times as long. */
  | { readonly kind: 'slow'; readonly factor: number }
  /** The connection ends in the middle of the body. */
  | { readonly kind: 'cutBody' }
  /** The engine crashes: port closed, every connection reset. It stays down without `reviveAfterMs`. */
  | { readonly kind: 'die'; readonly reviveAfterMs?: number };

/** A fault script is a list of rules: the first that matches strikes. */
export interface FaultRule {
  readonly match?: FaultMatch;
  readonly action: FaultAction;
}

export interface FaultSubject {
  readonly path: string;
  readonly rawBody: string;
  readonly bodyHash: string;
  readonly attempt: number;
}

const ACTION_KINDS: ReadonlySet<string> = new Set<FaultAction['kind']>([
  'status',
  'reset',
  'hang',
  'garbage',
  'abort',
  'slow',
  'cutBody',
  'die',
]);

export class FaultScript {
  readonly #rules: readonly {
    readonly rule: FaultRule;
    readonly counters: { seen: number; struck: number };
  }[];
  readonly #seed: number;

  constructor(rules: readonly FaultRule[], seed: number) {
    this.#rules = rules.map((rule) => ({ rule, counters: { seen: 0, struck: 0 } }));
    this.#seed = seed;
  }

  /** The action for a request, or null. Counts `everyNth` and `times`, so ask once for each request. */
  decide(subject: FaultSubject): FaultAction | null {
    for (const { rule, counters } of this.#rules) {
      const { everyNth, times } = rule.match ?? {};
      if (times !== undefined && counters.struck >= times) continue;
      if (!this.#applies(rule.match ?? {}, subject)) continue;
      counters.seen += 1;
      if (everyNth !== undefined && counters.seen % everyNth !== 0) continue;
      counters.struck += 1;
      return rule.action;
    }
    return null;
  }

  #applies(match: FaultMatch, subject: FaultSubject): boolean {
    if (match.pathPrefix !== undefined && !subject.path.startsWith(match.pathPrefix)) return false;
    if (match.firstAttempts !== undefined && subject.attempt > match.firstAttempts) return false;
    if (match.bodyIncludes !== undefined && !subject.rawBody.includes(match.bodyIncludes)) return false;
    return (
      match.rate === undefined || unitHash(`${subject.bodyHash}:${subject.attempt}`, this.#seed) < match.rate
    );
  }
}

/**
 * Reads a fault script from JSON: an array of rules.
 * @throws {TypeError} when it is not one.
 */
export function parseFaultRules(text: string): FaultRule[] {
  const rules: unknown = JSON.parse(text);
  if (!Array.isArray(rules)) throw new TypeError('a fault script is a JSON array of rules');
  return rules.map((rule: unknown, index) => {
    if (!isFaultRule(rule)) throw new TypeError(`rule ${index} of the fault script has no known action.kind`);
    return rule;
  });
}

function isFaultRule(value: unknown): value is FaultRule {
  if (typeof value !== 'object' || value === null || !('action' in value)) return false;
  const { action } = value;
  if (typeof action !== 'object' || action === null || !('kind' in action)) return false;
  return typeof action.kind === 'string' && ACTION_KINDS.has(action.kind);
}
