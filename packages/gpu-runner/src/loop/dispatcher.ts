import { FAILURE_RULES, LIMITS, newId } from '@batch-infer/contracts';
import type { Clock } from '../clock.js';
import type { Failure, Success, Verdict } from '../engine/classify.js';
import type { Engine } from '../engine/engine.js';
import type { Blame, Judgement, Sent } from '../engine/judgement.js';
import type { Decided } from '../engine/standing.js';
import type { RunnerStats } from '../stats.js';
import type { WorkItem } from '../work/item.js';
import { homeOf, prefixKeyOf } from '../work/prefix-key.js';
import type { ShardRun } from '../work/shard-run.js';
import { AnswerSizes, hasRoom } from './answer-room.js';
import { ExpectedOutput } from './expected-output.js';
import { judged } from './judged-reply.js';
import { NoiseMeter } from './noise-meter.js';
import { type Outcome, reusedBy, segmentLineOf } from './outcome.js';
import { pickEngine } from './picker.js';
import { DEATHS_BEFORE_ALONE, decideRetry } from './retry.js';
import { WorkQueue } from './work-queue.js';

export interface DispatcherOptions {
  readonly engines: readonly Engine[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly stats: RunnerStats;
  readonly itemsPerSecond: () => number;
  /** Bytes of outcomes that are kept until the control plane has them. */
  readonly unsettledBytes: () => number;
  /** Called after items have started or ended: more may be needed. */
  readonly onProgress: () => void;
}

/** One request that came back. */
interface Attempt {
  readonly item: WorkItem;
  readonly engine: Engine;
  readonly ms: number;
  readonly requestId: string;
  readonly sent: Sent;
}

interface FailedAttempt {
  readonly attempt: Attempt;
  readonly verdict: Failure;
  readonly judgement: Judgement;
  readonly repeated: boolean;
}

interface Charge {
  readonly item: WorkItem;
  /** It had failed before, while others did not. */
  readonly repeated: boolean;
}

/** Items of one model and one route: an engine may fail one of these and take the other. */
interface Lane {
  readonly model: string;
  readonly path: string;
  readonly queue: WorkQueue<WorkItem>;
  /** Items that two engines died under: each runs with an engine for itself. */
  readonly alone: WorkItem[];
  /** Items that wait for their next attempt. */
  delayed: number;
  readonly answers: AnswerSizes;
}

/** Failures of other items in a row, after which an item is not given up: the engine is more likely to blame. */
const SUSPICIOUS_FAILURES = 2;
/** An item whose failure was not its own is sent again within this time. */
const DOUBT_MS = 300;

/** Sends items to engines as their windows have room, and brings each one to an outcome. */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #noise = new NoiseMeter();
  readonly #expected = new ExpectedOutput();
  /** Items charged since an engine's last success: given back when its breaker opens. */
  readonly #streaks = new WeakMap<Engine, Charge[]>();
  /** Answers of all engines: an item that fails while these go on is a likely culprit. */
  #answers = 0;
  #filling = false;
  #fillAgain = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  enqueue(item: WorkItem): void {
    const { model, job_id: jobId } = item.run.lease;
    const lane = this.#lane(item);
    item.tokens = this.#expected.costOf(jobId, item.body.length);
    if (item.history.deaths >= DEATHS_BEFORE_ALONE) lane.alone.push(item);
    else lane.queue.push(item, this.#homeOf(item, model));
  }

  /** One engine is home to everything; of several, those that are there share the prefixes out. */
  #homeOf(item: WorkItem, model: string): string {
    const { engines } = this.#options;
    if (engines.length === 1) return engines[0]?.url ?? '';
    const [first, ...others] = engines.filter((one) => one.capacityFor(model) > 0);
    if (first === undefined || others.length === 0) return first?.url ?? '';
    item.prefixKey = prefixKeyOf(item.body);
    return (
      homeOf(
        item.prefixKey,
        [first, ...others].map((engine) => engine.url),
      ) ?? ''
    );
  }

  /** Items of a model that could be sent at once, and those that wait for a next attempt. */
  held(model: string): { ready: number; delayed: number } {
    const held = { ready: 0, delayed: 0 };
    for (const lane of this.#lanes.values()) {
      if (lane.model !== model) continue;
      held.ready += lane.queue.size;
      held.delayed += lane.delayed;
    }
    return held;
  }

  /** Takes out everything of a shard that is not in flight. */
  dropWaiting(run: ShardRun): void {
    for (const lane of this.#lanes.values()) {
      if (lane.model !== run.lease.model) continue;
      lane.queue.remove(run);
      lane.alone.splice(0, lane.alone.length, ...lane.alone.filter((item) => item.run !== run));
    }
    for (const item of run.items) {
      if (item.cancelDelay === null) continue;
      item.cancelDelay();
      item.cancelDelay = null;
      this.#lane(item).delayed -= 1;
    }
  }

  /** Closes the connections of a shard's requests. */
  abortInFlight(run: ShardRun): void {
    for (const item of run.items) item.call?.abort();
  }

  /** Sends whatever there is room for. Called on every arrival and every completion. */
  fill(): void {
    this.#fillAgain = true;
    if (this.#filling) return;
    this.#filling = true;
    while (this.#fillAgain) {
      this.#fillAgain = false;
      this.#fillOnce();
    }
    this.#filling = false;
    this.#options.onProgress();
  }

  #fillOnce(): void {
    const reserved = this.#startAlone();
    const engines =
      reserved === null ? this.#options.engines : this.#options.engines.filter((one) => one !== reserved);
    for (let started = true; started; ) {
      started = false;
      // One item of each model in turn: models that share an engine share its window.
      for (const lane of this.#lanes.values()) {
        if (lane.queue.size === 0 || !this.#hasRoom(lane)) continue;
        const engine = pickEngine(engines, lane);
        const item = engine === null ? null : lane.queue.take(engine.url, engine.onTrial);
        if (engine === null || item === null) continue;
        this.#send(item, engine);
        started = true;
      }
    }
  }

  /** Starts an item that needs an engine for itself; the answer is the engine that is being emptied for one. */
  #startAlone(): Engine | null {
    for (const lane of this.#lanes.values()) {
      const [item] = lane.alone;
      if (item === undefined || !this.#hasRoom(lane)) continue;
      const engine = this.#options.engines.find((one) => one.capacityFor(lane.model) > 0);
      if (engine === undefined) continue;
      if (engine.load.inFlight > 0 || engine.roomFor(lane) === 0) return engine;
      lane.alone.shift();
      this.#send(item, engine);
      engine.exclusive = true;
      return engine;
    }
    return null;
  }

  #hasRoom(lane: Lane): boolean {
    const all = [...this.#lanes.values()].map(({ answers }) => answers);
    return hasRoom(lane.answers, all, this.#options.unsettledBytes());
  }

  #send(item: WorkItem, engine: Engine): void {
    // The end of a job is the control plane's to say: it may have been extended since the lease was given.
    const { item_timeout_ms: timeoutMs, model } = item.run.lease;
    const requestId = newId('req');
    const request = { path: item.path, body: item.body, requestId, timeoutMs };
    const sent = engine.send(request, model);
    const { call } = sent;
    item.call = call;
    engine.load.outstandingTokens += item.tokens;
    this.#lane(item).answers.inFlight += 1;
    void judged(item.path, call.reply).then(({ reply, verdict }) => {
      item.call = null;
      this.#answered({ item, engine, ms: reply.ms, requestId, sent }, verdict);
    });
  }

  #answered(attempt: Attempt, verdict: Verdict | null): void {
    const { item, engine, ms, sent } = attempt;
    engine.exclusive = false;
    engine.load.outstandingTokens -= item.tokens;
    const { answers } = this.#lane(item);
    answers.inFlight -= 1;
    if (verdict?.ok === true) answers.note(verdict.body.length);
    else if (verdict?.code === 'answer_too_large') answers.note(LIMITS.answerBytes);
    const { stats } = this.#options;
    const repeated = this.#repeated(item);
    stats.attempts += 1;
    stats.attemptMs += ms;
    const judgement = engine.received(verdict, sent, { what: item, repeated });
    if (verdict !== null && isAlive(item.run)) {
      if (verdict.ok) this.#succeeded(attempt, verdict);
      else void this.#judge({ attempt, verdict, judgement, repeated });
    }
    // Its place is free already, whatever is found out about a failure.
    this.fill();
  }

  #succeeded({ item, engine, ms, requestId }: Attempt, verdict: Success): void {
    const { stats } = this.#options;
    this.#streaks.delete(engine);
    this.#answers += 1;
    // A connection that broke at once was not charged, but it is noise all the same.
    this.#noise.record({ succeeded: true, failures: failuresOf(item) });
    stats.succeeded += 1;
    if (verdict.finishReason !== null) stats.countFinish(verdict.finishReason);
    if (verdict.usage !== undefined) {
      const [input, cached, output] = verdict.usage;
      stats.inputTokens += input;
      stats.cachedTokens += cached;
      stats.outputTokens += output;
      this.#expected.note(item.run.lease.job_id, output);
    }
    this.#end({ item, verdict, attempts: item.history.charged + 1, ms, requestId });
  }

  async #judge(params: FailedAttempt): Promise<void> {
    const { attempt, verdict, judgement } = params;
    this.#options.stats.countFailure(verdict.code);
    const blame = await judgement.blame;
    // Judging may have taken a look at the engine's health: the shard may be gone by now.
    if (isAlive(attempt.item.run)) await this.#failed(params, blame);
    this.fill();
  }

  async #failed(
    { attempt, verdict: judged, judgement, repeated }: FailedAttempt,
    blame: Blame,
  ): Promise<void> {
    const { item, engine, ms, requestId, sent } = attempt;
    if (judged.broken === 'raced' && !item.raced && !blame.engineDied) {
      // The engine closed an idle connection just then: it never saw the request.
      item.raced = true;
      this.#again(item, 0);
      return;
    }
    const excused = blame.excused || (!sent.trial && this.#suspicious(item, engine, judged));
    const verdict = excused ? judged : unexcused(judged);
    if (blame.excused) this.forgive(engine);
    const decision = decideRetry({
      code: verdict.code,
      history: item.history,
      maxAttempts:
        verdict.saidAgain === true ? Math.min(2, item.run.lease.max_attempts) : item.run.lease.max_attempts,
      excused,
      engineDied: blame.engineDied,
      alone: judgement.alone,
      reached: verdict.broken !== 'refused',
      retryAfterMs: verdict.retryAfterMs,
      noise: this.#noise.share,
      random: this.#options.random,
    });
    if (decision.outcome === 'retry') {
      if (decision.history.charged > item.history.charged) {
        item.answersAtFailure ??= this.#answers;
        this.#streakOf(engine).push({ item, repeated });
      }
      item.history = decision.history;
      this.#again(item, decision.delayMs);
      return;
    }
    // It would end here, unless its answer is the engine's state and not its own.
    const meaning: Decided = blame.engineDied ? 'item' : ((await judgement.meaning?.(item.doubts)) ?? 'item');
    if (!isAlive(item.run)) return;
    if (meaning !== 'item') {
      if (meaning === 'engine') this.forgive(engine);
      else item.doubts += 1;
      this.#again(item, this.#options.random() * DOUBT_MS);
      return;
    }
    // A refusal shows an engine at work.
    if (FAILURE_RULES[judged.code].retry === 'final') this.#streaks.delete(engine);
    this.#noise.record({ succeeded: false, failures: decision.attempts });
    this.#options.stats.failed += 1;
    this.#end({ item, verdict, attempts: decision.attempts, ms, requestId });
  }

  /** True when it would be this item's last chance, and no answer tells why, but the engine has been failing others too. */
  #suspicious(item: WorkItem, engine: Engine, { code, status }: Failure): boolean {
    const { history, run } = item;
    if (
      FAILURE_RULES[code].retry !== 'charged' ||
      status !== 0 ||
      engine.onTrial ||
      history.charged + 1 < run.lease.max_attempts
    )
      return false;
    const charges = this.#streakOf(engine).filter((charge) => charge.item !== item && !charge.repeated);
    return new Set(charges.map((charge) => charge.item)).size >= SUSPICIOUS_FAILURES;
  }

  #repeated(item: WorkItem): boolean {
    return item.answersAtFailure !== null && this.#answers > item.answersAtFailure;
  }

  #streakOf(engine: Engine): Charge[] {
    let streak = this.#streaks.get(engine);
    if (streak === undefined) {
      streak = [];
      this.#streaks.set(engine, streak);
    }
    return streak;
  }

  /** The engine turned out to be down: what was charged while it went down was not the items' fault. */
  forgive(engine: Engine): void {
    for (const { item } of this.#streakOf(engine)) {
      item.history = { ...item.history, charged: Math.max(0, item.history.charged - 1) };
    }
    this.#streaks.delete(engine);
  }

  #again(item: WorkItem, delayMs: number): void {
    if (item.run.phase !== 'open') return;
    const lane = this.#lane(item);
    const requeue = () => {
      if (item.history.deaths >= DEATHS_BEFORE_ALONE) lane.alone.push(item);
      else lane.queue.pushRetry(item);
    };
    if (delayMs <= 0) {
      requeue();
      return;
    }
    lane.delayed += 1;
    item.cancelDelay = this.#options.clock.after(delayMs, () => {
      item.cancelDelay = null;
      lane.delayed -= 1;
      requeue();
      this.fill();
    });
  }

  #end(outcome: Outcome): void {
    const { item, verdict } = outcome;
    const { run } = item;
    run.items.delete(item);
    run.undecided -= 1;
    run.settler.add(segmentLineOf(outcome));
    for (const twin of run.twins?.release(item) ?? []) {
      if (verdict.ok) {
        this.#options.stats.succeeded += 1;
        this.#end(reusedBy(twin, outcome, verdict));
      } else if (run.phase === 'open') {
        // What failed may have been the engine's fault: each of them has its own attempts.
        this.enqueue(twin);
      }
    }
    if (run.undecided === 0) void run.settler.flush();
  }

  #lane({ path, run }: Pick<WorkItem, 'path' | 'run'>): Lane {
    const { model } = run.lease;
    const key = `${path} ${model}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      const { clock, itemsPerSecond } = this.#options;
      const queue = new WorkQueue<WorkItem>({ nowMs: () => clock.nowMs(), itemsPerSecond });
      lane = { model, path, queue, alone: [], delayed: 0, answers: new AnswerSizes() };
      this.#lanes.set(key, lane);
    }
    return lane;
  }
}

/** An engine that says it is going away, and stays, has failed this one request. */
const unexcused = (verdict: Failure): Failure =>
  verdict.code === 'engine_aborted' && verdict.status >= 500 ? { ...verdict, code: 'engine_error' } : verdict;

/** Requests of an item that failed, whoever is to blame. */
const failuresOf = ({ history, raced }: WorkItem): number =>
  history.charged + history.interrupted + history.noisy + (raced ? 1 : 0);

const isAlive = (run: ShardRun): boolean => run.phase !== 'closed';
