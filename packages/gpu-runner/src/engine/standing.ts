import type { Clock } from '../clock.js';
import type { Failure } from './classify.js';
import { Crowding } from './crowding.js';
import {
  DOUBTFUL_ROW,
  isAboutItself,
  meaningOf,
  PATIENCE_MS,
  type RefusalMeaning,
  type RefusalSubject,
  subjectOf,
  wordsOf,
} from './refusal.js';

/** What came of a small request of our own. `unanswered`: it tells nothing. */
export type ProbeResult = { readonly outcome: 'passed' | 'unanswered' } | ProbeFailure;
interface ProbeFailure {
  readonly outcome: 'failed';
  readonly failure: Failure;
}

export interface StandingOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** Sends a small request of our own on the same route for the same model; `null` where none is known. */
  readonly probe: (() => Promise<ProbeResult>) | null;
  /** Another engine of the runner serves the model. */
  readonly elsewhere: () => boolean;
  /** It takes more or less than before, or `state` is another one. */
  readonly onChange: () => void;
}

/**
 * - `working`: everything may be sent.
 * - `doubtful`: several items in a row have failed; nothing more is sent before it is known why.
 * - `failing`: the engine fails everything on this route for this model: it is asked again and again, by ourselves.
 * - `believed`: it has done so for so long that its items are let through, to come to their own end.
 */
export type StandingState = 'working' | 'doubtful' | 'failing' | 'believed';

/** One failed answer, noted when it arrived. */
export interface Ticket {
  readonly item: object;
  readonly failure: Failure;
  readonly subject: RefusalSubject;
  readonly words: string;
  readonly sentAtMs: number;
  readonly arrivedAtMs: number;
  readonly inRow: number;
  readonly alike: number;
}

interface Pass {
  readonly sentAtMs: number;
  readonly arrivedAtMs: number;
}

interface Waiting {
  readonly ticket: Ticket;
  readonly earlier: number;
  readonly decided: (meaning: Decided) => void;
}
export type Decided = Exclude<RefusalMeaning, 'wait'>;

/** Others that are under way may tell as much as a probe: it waits so long for them. */
const PROBE_PATIENCE_MS = 100;
const UNANSWERED_MS = 500;
const PROBE_CEILINGS_MS = [250, 500, 1_000, 2_000];
const BELIEVED_PROBE_MS = 5_000;
const OWN_WORDS_MS = 10_000;
const OWN_WORDS_KEPT = 64;
const PASSES_KEPT = 64;
/** How long our own request is not used after it was refused while others passed. */
const UNFIT_MS = 60_000;

/** What an engine's answers on one route for one model say of it. */
export class Standing {
  /** Want of room has rules of its own. */
  readonly crowding = new Crowding();
  readonly #options: StandingOptions;
  #state: StandingState = 'working';
  /** Items in a row that failed. */
  readonly #row = new Map<object, Ticket>();
  /** Since when nothing has passed although requests were sent; `null` while they pass. */
  #failingSinceMs: number | null = null;
  #last: Ticket | null = null;
  /** Requests that passed of late. */
  readonly #passes: Pass[] = [];
  /** Words that items got for themselves, and when that was seen. */
  readonly #ownWords = new Map<string, number>();
  #waiting: Waiting[] = [];
  #inFlight = 0;
  #probing = false;
  #probes = 0;
  /** When the last request of our own was sent that failed; `null` after one has passed. */
  #probeFailedAtMs: number | null = null;
  /** The engine took others, but not our own request. */
  #unfitUntilMs = Number.NEGATIVE_INFINITY;
  #cancelProbe: (() => void) | null = null;
  #closed = false;

  constructor(options: StandingOptions) {
    this.#options = options;
  }

  get state(): StandingState {
    return this.#state;
  }

  /** Since when it is `failing` or `believed`, by the clock; `null` else. */
  get sinceMs(): number | null {
    return this.#state === 'failing' || this.#state === 'believed' ? this.#failingSinceMs : null;
  }

  /** The last failed answer of the row. */
  get last(): Failure | null {
    return this.#last?.failure ?? null;
  }

  /** Requests that may be sent now. */
  get allowance(): number {
    if (this.#state === 'working' || this.#state === 'believed') return Number.POSITIVE_INFINITY;
    // Where we cannot ask by ourselves, one item at a time finds out.
    const tries = !this.#asks && (this.#state === 'doubtful' || this.#cancelProbe === null);
    return tries ? Math.max(0, 1 - this.#inFlight) : 0;
  }

  /** Nothing is known that would be lost. */
  get isIdle(): boolean {
    return (
      this.#inFlight === 0 && this.#row.size === 0 && this.#waiting.length === 0 && this.#state === 'working'
    );
  }

  sent(): void {
    this.#inFlight += 1;
  }

  /** One that was sent has come back, whatever came of it. */
  returned(): void {
    this.#inFlight -= 1;
  }

  passed(sentAtMs: number): void {
    this.#notePass(sentAtMs);
    this.crowding.passed();
    // One that was sent before the trouble began tells nothing of it.
    if (this.#failingSinceMs !== null && sentAtMs < this.#failingSinceMs) return;
    if (this.#probeFailedAtMs !== null) {
      if (sentAtMs < this.#probeFailedAtMs) return;
      this.#unfitUntilMs = this.#options.clock.nowMs() + UNFIT_MS;
    }
    this.#works('none');
  }

  /** Notes a failed answer; `null` for one that tells nothing here. */
  failed(item: object, failure: Failure, sentAtMs: number): Ticket | null {
    const subject = subjectOf(failure);
    if (subject === null) return null;
    const words = wordsOf(failure);
    const arrivedAtMs = this.#options.clock.nowMs();
    const others = [...this.#row.values()].filter((one) => one.item !== item);
    const alike = others.filter((one) => one.words === words).length + 1;
    const ticket = {
      ...{ item, failure, subject, words, sentAtMs, arrivedAtMs },
      ...{ inRow: others.length + 1, alike },
    };
    this.#last = ticket;
    if (this.#isOwn(words)) return ticket;
    this.#failingSinceMs = Math.min(this.#failingSinceMs ?? sentAtMs, sentAtMs);
    this.#row.set(item, ticket);
    if (this.#state === 'working') {
      const doubtful = this.#row.size >= DOUBTFUL_ROW;
      if (doubtful) this.#become('doubtful');
      this.#probeIn(doubtful ? 0 : PROBE_PATIENCE_MS);
    }
    if (this.#state === 'failing' && !this.#asks) this.#failsStill(subject);
    return ticket;
  }

  /** True when the words are known to be about single items: they say nothing of the engine. */
  isOwn(failure: Failure): boolean {
    return subjectOf(failure) !== null && this.#isOwn(wordsOf(failure));
  }

  /**
   * What a failed answer means that would end its item. Waits for what shows it: others that pass, or a request of our
   * own. Not to be called for tickets that were decided.
   */
  decide(ticket: Ticket, earlier: number): Promise<Decided> {
    const meaning = this.#meaningOf(ticket, earlier, 'none');
    if (meaning !== 'wait') return Promise.resolve(meaning);
    this.#probeIn(this.#inFlight === 0 || this.#state !== 'working' ? 0 : PROBE_PATIENCE_MS);
    return new Promise((decided) => this.#waiting.push({ ticket, earlier, decided }));
  }

  /** Asks the engine with a request of our own, unless it is asked already. */
  ask(): void {
    this.#probeIn(0);
  }

  close(): void {
    this.#closed = true;
    this.#cancelProbe?.();
    for (const { decided } of this.#waiting.splice(0)) decided('again');
  }

  get #asks(): boolean {
    return this.#options.probe !== null && this.#options.clock.nowMs() >= this.#unfitUntilMs;
  }

  get #asked(): 'none' | 'pending' | 'impossible' {
    if (!this.#asks) return 'impossible';
    return this.#probing ? 'pending' : 'none';
  }

  #notePass(sentAtMs: number): void {
    this.#passes.push({ sentAtMs, arrivedAtMs: this.#options.clock.nowMs() });
    if (this.#passes.length > PASSES_KEPT) this.#passes.shift();
  }

  #isOwn(words: string): boolean {
    const seenAtMs = this.#ownWords.get(words);
    return seenAtMs !== undefined && this.#options.clock.nowMs() - seenAtMs < OWN_WORDS_MS;
  }

  #meaningOf(ticket: Ticket, earlier: number, probe: 'none' | 'passed'): RefusalMeaning {
    const nowMs = this.#options.clock.nowMs();
    const { sentAtMs, arrivedAtMs } = ticket;
    const after = this.#passes
      .filter((pass) => pass.sentAtMs >= sentAtMs && pass.arrivedAtMs >= arrivedAtMs)
      .map((pass) => Math.max(0, pass.sentAtMs - arrivedAtMs));
    const failingForMs = this.#failingSinceMs === null ? 0 : nowMs - this.#failingSinceMs;
    const confirmed = this.#state === 'failing' || this.#state === 'believed';
    const asked = probe === 'passed' ? probe : confirmed ? 'failed' : this.#asked;
    const meaning = meaningOf({
      subject: ticket.subject,
      inRow: ticket.inRow,
      alike: ticket.alike,
      passedAfterMs: after.length === 0 ? null : Math.min(...after),
      probe: asked,
      failingForMs,
      earlier,
      elsewhere: this.#options.elsewhere(),
      ownWords: this.#isOwn(ticket.words),
    });
    if (meaning === 'engine' && this.#state !== 'failing' && this.#state !== 'believed') this.#fails();
    return meaning;
  }

  /** Decides whatever can be decided now. */
  #settle(probe: 'none' | 'passed', probedAtMs = Number.POSITIVE_INFINITY): void {
    const undecided = this.#waiting.splice(0);
    for (const waiting of undecided) {
      const { ticket, earlier, decided } = waiting;
      const told = probe === 'passed' && ticket.sentAtMs <= probedAtMs ? 'passed' : 'none';
      const meaning = this.#meaningOf(ticket, earlier, told);
      if (meaning === 'wait') this.#waiting.push(waiting);
      else decided(meaning);
    }
  }

  #works(probe: 'none' | 'passed', probedAtMs?: number): void {
    this.#settle(probe, probedAtMs);
    this.#row.clear();
    this.#probes = 0;
    this.#probeFailedAtMs = null;
    this.#cancelProbe?.();
    this.#cancelProbe = null;
    // What came back after the request that passed was sent is not decided by it.
    for (const { ticket } of this.#waiting) this.#row.set(ticket.item, ticket);
    this.#failingSinceMs =
      this.#row.size === 0 ? null : Math.min(...this.#waiting.map(({ ticket }) => ticket.sentAtMs));
    this.#become('working');
    if (this.#waiting.length > 0) this.#probeIn(PROBE_PATIENCE_MS);
  }

  #fails(): void {
    this.#become('failing');
    this.#settle('none');
    this.#tryLater();
  }

  #become(state: StandingState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onChange();
  }

  #probeIn(delayMs: number): void {
    if (!this.#asks || this.#closed || this.#probing) return;
    if (this.#cancelProbe !== null) {
      if (delayMs > 0) return;
      this.#cancelProbe();
    }
    this.#cancelProbe = this.#options.clock.after(delayMs, () => {
      this.#cancelProbe = null;
      void this.#probe();
    });
  }

  async #probe(): Promise<void> {
    const { clock, probe } = this.#options;
    if (probe === null || this.#probing) return;
    this.#probing = true;
    const sentAtMs = clock.nowMs();
    const result = await probe();
    this.#probing = false;
    if (this.#closed) return;
    if (result.outcome === 'passed') this.#probePassed(sentAtMs);
    else if (result.outcome === 'failed' && subjectOf(result.failure) !== null) {
      this.#probeFailed(result.failure, sentAtMs);
    } else this.#probeUnanswered();
  }

  #probePassed(sentAtMs: number): void {
    // It was let in before the trouble began.
    if (this.#failingSinceMs !== null && sentAtMs < this.#failingSinceMs) {
      this.#probeUnanswered();
      return;
    }
    this.#notePass(sentAtMs);
    this.crowding.probed();
    if (this.#state === 'working' || this.#state === 'doubtful') {
      const nowMs = this.#options.clock.nowMs();
      for (const { subject, words, sentAtMs: failedMs } of this.#row.values()) {
        if (!isAboutItself(subject) || failedMs > sentAtMs) continue;
        this.#ownWords.delete(words);
        this.#ownWords.set(words, nowMs);
      }
      for (const words of this.#ownWords.keys()) {
        if (this.#ownWords.size <= OWN_WORDS_KEPT) break;
        this.#ownWords.delete(words);
      }
    }
    this.#works('passed', sentAtMs);
  }

  #probeFailed(failure: Failure, sentAtMs: number): void {
    const arrivedAtMs = this.#options.clock.nowMs();
    if (this.#passes.some((pass) => pass.sentAtMs >= sentAtMs)) {
      this.#unfitUntilMs = arrivedAtMs + UNFIT_MS;
      this.#settle('none');
      return;
    }
    const subject = subjectOf(failure) ?? 'engine';
    this.#probeFailedAtMs = sentAtMs;
    this.#failingSinceMs ??= sentAtMs;
    this.#last = {
      ...{ item: this, failure, subject, words: wordsOf(failure), sentAtMs, arrivedAtMs },
      ...{ inRow: this.#row.size, alike: 1 },
    };
    if (this.#state === 'working' || this.#state === 'doubtful') this.#fails();
    else this.#failsStill(subject);
  }

  /** Too busy to tell, perhaps: what is in doubt waits, the others go on. */
  #probeUnanswered(): void {
    if (this.#state === 'doubtful') this.#become('working');
    this.#settle('none');
    if (this.#state === 'failing' || this.#state === 'believed') this.#tryLater();
    else if (this.#waiting.length > 0) this.#probeIn(UNANSWERED_MS);
  }

  /** After a while it means what it says, unless others can do the work, or it is only our access that it refuses. */
  #failsStill(subject: RefusalSubject): void {
    const { clock, elsewhere } = this.#options;
    const failingForMs = clock.nowMs() - (this.#failingSinceMs ?? clock.nowMs());
    if (failingForMs >= PATIENCE_MS && subject !== 'access' && !elsewhere()) this.#become('believed');
    else if (this.#state === 'believed') this.#become('failing');
    this.#tryLater();
  }

  /** Asks again after a while, or lets one item try it. */
  #tryLater(): void {
    const { clock, random, onChange } = this.#options;
    const ceilingMs = PROBE_CEILINGS_MS[Math.min(this.#probes, PROBE_CEILINGS_MS.length - 1)] ?? 0;
    this.#probes += 1;
    const delayMs = (this.#state === 'believed' ? BELIEVED_PROBE_MS : ceilingMs) * (0.75 + random() / 2);
    if (this.#asks) {
      this.#cancelProbe?.();
      this.#cancelProbe = null;
      this.#probeIn(delayMs);
    } else if (this.#cancelProbe === null) {
      this.#cancelProbe = clock.after(delayMs, () => {
        this.#cancelProbe = null;
        onChange();
      });
    }
  }
}
