import type { FailureCode } from '@batch-infer/contracts';
import type { Failure } from './classify.js';

/** What a failed answer speaks about, by itself: the request, the route or model, our access, or the engine. */
export type RefusalSubject = 'request' | 'route' | 'access' | 'engine';

/** What is known when an item is about to end for a failed answer. */
export interface RefusalEvidence {
  readonly subject: RefusalSubject;
  /** Different items in a row that failed at this engine with this route and model, this one included. */
  readonly inRow: number;
  /** Of these, those with the same status and words. */
  readonly alike: number;
  /**
   * Milliseconds from its failure to the sending of a request that passed since; 0 for one that was under way, sent after
   * the item; `null`: none has passed.
   */
  readonly passedAfterMs: number | null;
  /** What came of a small request of our own, sent since; `impossible` where we know none for the route. */
  readonly probe: 'none' | 'pending' | 'passed' | 'failed' | 'impossible';
  /** How long nothing has passed while requests failed, in milliseconds. */
  readonly failingForMs: number;
  /** Times that this item came back in this way although others passed in between. */
  readonly earlier: number;
  /** Another engine of this runner serves the model. */
  readonly elsewhere: boolean;
  /** The same words were said a moment ago while our own request passed. */
  readonly ownWords: boolean;
}

/**
 * - `item`: the item's own failure, which counts.
 * - `engine`: the engine's state: the item is given back uncharged, the engine gets no more of this route and model.
 * - `again`: the moment is over and was doubtful: the item is sent again, uncharged.
 * - `wait`: what comes next will tell.
 */
export type RefusalMeaning = 'item' | 'engine' | 'again' | 'wait';

/** Failures of different items in a row from which on the engine is in doubt: nothing more is sent before it is known. */
export const DOUBTFUL_ROW = 3;
/** Where nothing passes for so long, the engine means what it says: longer than a proxy or a restart takes. */
export const PATIENCE_MS = 45_000;
/** A request that passed within this time of another's failure shows that the engine takes requests at that moment. */
const MEANWHILE_MS = 250;
/** Times that an item is sent again for doubt. */
const SECOND_CHANCES = 2;
/** The same for words that others with the same route and model contradict, as behind a balancer with one bad replica. */
const CONTRADICTIONS = 7;

/**
 * What a failed answer means. A status code alone decides nothing: the same engine answered the same route and model a
 * moment ago, or others pass meanwhile, or our own small request fares like the item.
 */
export function meaningOf(evidence: RefusalEvidence): RefusalMeaning {
  const { subject, passedAfterMs, probe } = evidence;
  const passes = passedAfterMs !== null || probe === 'passed';
  if (passes) return meaningBesideOthers(evidence);
  if (evidence.failingForMs >= PATIENCE_MS) {
    return subject === 'access' || evidence.elsewhere ? 'engine' : 'item';
  }
  if (evidence.ownWords && isAboutItself(subject)) return 'item';
  if (probe === 'failed') return 'engine';
  if (probe === 'impossible' && (evidence.alike >= DOUBTFUL_ROW || evidence.inRow >= 2 * DOUBTFUL_ROW)) {
    return 'engine';
  }
  return 'wait';
}

/** Others passed since: the engine takes requests of this kind. */
function meaningBesideOthers(evidence: RefusalEvidence): RefusalMeaning {
  const { subject, earlier, probe, passedAfterMs, alike } = evidence;
  // Of route, model and key an engine cannot say one thing to one item and another to the next one.
  if (!isAboutItself(subject)) return earlier >= CONTRADICTIONS ? 'item' : 'again';
  if (earlier >= SECOND_CHANCES || evidence.ownWords) return 'item';
  const atOnce = passedAfterMs !== null && passedAfterMs <= MEANWHILE_MS;
  if (!atOnce) return 'again';
  if (alike < DOUBTFUL_ROW || probe === 'passed') return 'item';
  return probe === 'pending' ? 'wait' : 'again';
}

/** True when the answer may be about one item: what differs between items with the same route and model. */
export const isAboutItself = (subject: RefusalSubject): boolean =>
  subject === 'request' || subject === 'engine';

const SUBJECTS: ReadonlyMap<FailureCode, RefusalSubject> = new Map([
  ['invalid_request', 'request'],
  ['context_length_exceeded', 'request'],
  ['model_not_found', 'route'],
  ['unsupported_endpoint', 'route'],
  ['engine_unauthorized', 'access'],
  ['engine_error', 'engine'],
  ['engine_aborted', 'engine'],
  ['engine_unreachable', 'engine'],
  ['invalid_response', 'engine'],
]);

/** `null` for failures that are no answers, and for want of room: these have rules of their own. */
export function subjectOf(failure: Failure): RefusalSubject | null {
  return failure.status === 0 ? null : (SUBJECTS.get(failure.code) ?? null);
}

const SHOWN_CHARACTERS = 200;

/** Status and words without what differs from one request to the next: numbers and identifiers. */
export function wordsOf(failure: Failure): string {
  const message = (failure.message ?? '').slice(0, SHOWN_CHARACTERS);
  const plain = message.replace(/[\p{L}\d_-]*\d[\p{L}\d_-]*/gu, '#').toLowerCase();
  return `${failure.status} ${failure.code} ${plain}`;
}

const TEXT_CHARACTERS = 120;

/** What an engine says to everything, for people: `answers 404 to every /v1/chat/completions for m ("Not Found")`. */
export function refusalText({ path, model }: { path: string; model: string }, failure: Failure): string {
  const words = (failure.message ?? '').slice(0, TEXT_CHARACTERS);
  return `answers ${failure.status} to every ${path} for ${model}${words === '' ? '' : ` ("${words}")`}`;
}

/** What an engine says that has no room for anything: `has no room: 503 to every … for m, come again in 3600 s`. */
export function fullText({ path, model }: { path: string; model: string }, failure: Failure | null): string {
  const hintMs = failure?.retryAfterMs ?? null;
  const hint = hintMs === null ? '' : `, to come again in ${Math.ceil(hintMs / 1_000)} s`;
  return `has no room: it answers ${failure?.status ?? 503} to every ${path} for ${model}${hint}`;
}
