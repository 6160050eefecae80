import { LIMITS } from '@batch-infer/contracts';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { allowance, applyBreaker, type BreakerEvent, type BreakerState, CLOSED, isYoung } from './breaker.js';
import type { Verdict } from './classify.js';
import { type EngineCall, EngineClient, type EngineConnection, type EngineRequest } from './client.js';
import type { EngineInfo } from './discovery.js';
import type { EngineOptions } from './engine-options.js';
import { givesNothing, problemOf } from './engine-problem.js';
import { GaugeReader } from './gauge-reader.js';
import { type Health, HealthRoute } from './health-route.js';
import {
  type Blame,
  BREAKER_FAILURES,
  INNOCENT,
  isRefusal,
  type Judgement,
  type Sent,
  TRANSPORT_FAILURES,
} from './judgement.js';
import { EngineLoad } from './load.js';
import { changesOfModels } from './model-list.js';
import { Prober, type Target } from './prober.js';
import { refusalText } from './refusal.js';
import type { Decided, Ticket } from './standing.js';
import { Standings } from './standings.js';
import { MESSAGES_PATH, MessagesRoute } from './translate/messages-route.js';

const BUSY_INTERVAL_MS = 500;
const IDLE_INTERVAL_MS = 2_000;
/** Its models are asked for no more often than this, however many requests say that one is missing. */
const LIST_INTERVAL_MS = 5_000;
/** A request of our own is sent no more often than this to an engine whose health route says that it is gone. */
const PROOF_INTERVAL_MS = 2_000;
const SPARE_CONNECTIONS = 8;
const MAX_CONNECTIONS = 1_024;

/** One engine: its connections, window, breaker and health. */
export class Engine {
  readonly id: string;
  readonly url: string;
  readonly load: EngineLoad;
  models: readonly string[] = [];
  /** True while one item has it for itself. */
  exclusive = false;
  readonly #options: EngineOptions;
  readonly #client: EngineConnection;
  readonly #messages: MessagesRoute;
  #breaker: BreakerState = CLOSED;
  #health: Health = 'silent';
  /** Since when it has not been alive; `null` while it is. */
  #awaySinceMs: number | null = null;
  #checking: Promise<Health> | null = null;
  readonly #standings: Standings;
  readonly #prober: Prober;
  #lastTarget: Target | null = null;
  #listedAtMs = Number.NEGATIVE_INFINITY;
  /** One request of our own shows whether the engine works again. */
  #proving = false;
  #provedAtMs = Number.NEGATIVE_INFINITY;
  readonly #healthRoute: HealthRoute;
  readonly #gauges: GaugeReader;
  #connected = false;
  /** Since when it serves no model, and since when its breaker is not closed. */
  #lostAtMs: number | null = null;
  #pausedAtMs: number | null = null;
  #looking = false;
  #cancelLook: () => void = () => {};
  #closed = false;

  constructor(options: EngineOptions) {
    this.id = options.id;
    this.url = options.url;
    this.#options = options;
    this.load = new EngineLoad(options.clock, options.limits);
    const connections = (options.limits.window ?? MAX_CONNECTIONS) + SPARE_CONNECTIONS;
    this.#client = options.connection ?? new EngineClient({ ...options, connections });
    this.#messages = new MessagesRoute(this.#client, options.clock);
    this.#gauges = new GaugeReader(this.#client);
    this.#healthRoute = new HealthRoute({
      ...options,
      client: this.#client,
      path: options.healthPath,
      isIdle: () => this.load.inFlight === 0 && this.#breaker.kind === 'closed',
      prove: () => this.#proof(),
    });
    this.#prober = new Prober((request) => this.#post(request));
    const { clock, random, elsewhere } = options;
    this.#standings = new Standings((target) => ({
      ...{ clock, random },
      probe: this.#prober.forTarget(target),
      elsewhere: () => elsewhere(target.model),
      onChange: () => this.#standingChanged(target),
    }));
  }

  /** Takes the engine into use. */
  async connect(info: EngineInfo): Promise<void> {
    this.models = info.models;
    this.#listedAtMs = this.#options.clock.nowMs();
    this.#gauges.llamaCpp = info.llamaCpp;
    this.#connected = true;
    this.#health = 'alive';
    await this.#look();
    this.#schedule();
  }

  serves(model: string): boolean {
    return this.models.includes(model);
  }

  /** Requests it may be sent now. */
  get free(): number {
    if (this.models.length === 0 || this.exclusive || this.#proving) return 0;
    return Math.max(0, Math.min(this.load.window - this.load.inFlight, allowance(this.#breaker)));
  }

  /** Requests on a route for a model that it may be sent now. */
  roomFor(target: Target): number {
    if (!this.serves(target.model) || this.free === 0) return 0;
    return Math.min(this.free, this.#standings.of(target).allowance);
  }

  /** True when it fails everything for the model and others may do better. */
  isFailing(model: string): boolean {
    return this.#standings.failingSinceMs(model) !== null;
  }

  /** True while a few items show whether it works again. */
  get onTrial(): boolean {
    return this.#breaker.kind === 'half_open';
  }

  /** Requests it could hold now, those in flight included; 0 while it is away. */
  get capacity(): number {
    if (this.models.length === 0) return 0;
    const allowed = allowance(this.#breaker);
    return Number.isFinite(allowed) ? Math.min(allowed, this.load.window) : this.load.window;
  }

  /** The same for one model: 0 also while it fails everything for it. */
  capacityFor(model: string): number {
    return this.serves(model) && !this.isFailing(model) ? this.capacity : 0;
  }

  /** Milliseconds for which it has done nothing for a model; 0 while it does. */
  awayMs(model: string): number {
    const { clock } = this.#options;
    const sinceMs = this.#awaySinceMs ?? this.#standings.failingSinceMs(model);
    return sinceMs === null ? 0 : clock.nowMs() - sinceMs;
  }

  get report(): RunnerReport['engines'][number] {
    const { models, url } = this;
    const nowMs = this.#options.clock.nowMs();
    const closed = this.#breaker.kind === 'closed';
    const problem = problemOf({
      ...{ url, models, nowMs, closed },
      connected: this.#connected,
      health: this.#health,
      standings: this.#standings,
      lastTarget: this.#lastTarget,
      lostAtMs: this.#lostAtMs,
      pausedAtMs: this.#pausedAtMs,
    });
    const works = models.some((model) => !givesNothing(this.#standings, model, nowMs));
    return {
      id: this.id,
      models: [...models],
      healthy: works && closed,
      window: this.load.window,
      in_flight: this.load.inFlight,
      problem: problem === null ? null : problem.text.slice(0, LIMITS.engineProblemChars),
      ...(problem === null || problem.sinceMs === null
        ? {}
        : { problem_ms: Math.max(0, nowMs - problem.sinceMs) }),
    };
  }

  send(request: EngineRequest, model: string): Sent {
    const trial = this.onTrial;
    const target = { path: request.path, model };
    this.#lastTarget = target;
    this.load.inFlight += 1;
    this.#standings.of(target).sent();
    this.#apply({ type: 'sent' });
    return { call: this.#post(request), target, atMs: this.#options.clock.nowMs(), trial };
  }

  /**
   * To be called once for every `send`, before its outcome is acted on. `null`: we ended it ourselves. `repeated`: the
   * item has failed before while others did not, so that its failure tells nothing of the engine.
   */
  received(verdict: Verdict | null, sent: Sent, item: { what: object; repeated: boolean }): Judgement {
    this.load.inFlight -= 1;
    const standing = this.#standings.of(sent.target);
    standing.returned();
    const wasOpen = this.#breaker.kind === 'open';
    if (verdict === null) {
      this.#apply({ type: 'unsettled' });
      return { blame: Promise.resolve(INNOCENT), meaning: null, alone: false };
    }
    this.load.note(verdict);
    if (verdict.ok) {
      this.#healthRoute.passed();
      standing.passed(sent.atMs);
      this.#apply({ type: 'success' });
      return { blame: Promise.resolve(INNOCENT), meaning: null, alone: false };
    }
    if (verdict.code === 'engine_overloaded') {
      const { alone, lonely } = standing.crowding.refused(item.what, verdict, this.#options.clock.nowMs());
      if (lonely) standing.ask();
      this.#apply({ type: 'unsettled' });
      return { blame: Promise.resolve(INNOCENT), meaning: null, alone };
    }
    const ticket = standing.failed(item.what, verdict, sent.atMs);
    const meaning = ticket === null ? null : (earlier: number) => this.#decide(sent.target, ticket, earlier);
    if (!BREAKER_FAILURES.has(verdict.code)) {
      this.#apply({ type: 'success' });
      return { blame: Promise.resolve(INNOCENT), meaning, alone: false };
    }
    const repeated = item.repeated || standing.isOwn(verdict);
    return { blame: this.#failed(verdict, { trial: sent.trial, repeated }, wasOpen), meaning, alone: false };
  }

  #decide(target: Target, ticket: Ticket, earlier: number): Promise<Decided> {
    return this.#standings.of(target).decide(ticket, earlier);
  }

  #post(request: EngineRequest): EngineCall {
    const route = request.path === MESSAGES_PATH ? this.#messages : this.#client;
    return route.post(request);
  }

  #standingChanged(target: Target): void {
    const { logger, onChange } = this.#options;
    const { state, last } = this.#standings.of(target);
    const fields = { engine: this.url, ...target };
    if (state === 'failing' && last !== null) {
      this.#options.onFailing(this);
      logger.warn(
        fields,
        `engine ${this.url} ${refusalText(target, last)}: paused for these, asked again and again`,
      );
    } else if (state === 'believed') {
      logger.warn(
        fields,
        `engine ${this.url} goes on like this: its items are let through, to come to their end`,
      );
    } else if (state === 'working') logger.debug(fields, `engine ${this.url} takes them`);
    onChange();
  }

  /** The supervisor saw its process end. */
  died(): void {
    this.#setHealth('dead');
  }

  /** Looks at the engine's health now; looks under way are shared. */
  checkHealth(): Promise<Health> {
    this.#checking ??= this.#healthRoute
      .ask()
      .then((health) => this.#setHealth(health))
      .finally(() => {
        this.#checking = null;
      });
    return this.#checking;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook();
    this.#standings.close();
    this.#prober.close();
    await this.#client.close();
  }

  /** Whether a small request of our own is answered; `false` also when one was sent just now. */
  async #proof(): Promise<boolean> {
    const nowMs = this.#options.clock.nowMs();
    if (this.#closed || this.models.length === 0 || nowMs - this.#provedAtMs < PROOF_INTERVAL_MS)
      return false;
    this.#provedAtMs = nowMs;
    const { outcome } = await this.#prober.any(this.#lastTarget, this.models);
    if (outcome === 'passed') this.#healthRoute.passed();
    return outcome === 'passed';
  }

  /** While few failures are behind it, requests of our own show whether the engine works again, not items. */
  async #prove(): Promise<void> {
    if (this.#proving || this.#closed) return;
    this.#proving = true;
    this.#apply({ type: 'sent' });
    const result = await this.#prober.any(this.#lastTarget, this.models);
    this.#proving = false;
    if (this.#closed) return;
    const works = result.outcome === 'passed' || isRefusal(result);
    if (works) this.#apply({ type: 'proved' });
    else if (result.outcome === 'failed' && result.failure.code === 'engine_overloaded') {
      this.#apply({ type: 'unsettled' });
    } else this.#apply({ type: 'failure', inFlight: this.load.inFlight });
    this.#options.onChange();
  }

  async #failed(
    verdict: Verdict & { ok: false },
    { trial, repeated }: { trial: boolean; repeated: boolean },
    wasOpen: boolean,
  ): Promise<Blame> {
    this.#apply(repeated ? { type: 'unsettled' } : { type: 'failure', inFlight: this.load.inFlight });
    // A broken connection is the engine's death or an accident: its health tells which.
    const health = TRANSPORT_FAILURES.has(verdict.code) ? await this.checkHealth() : this.#health;
    const dead = health === 'dead';
    const interrupted = verdict.broken !== null && verdict.broken !== 'refused';
    const held = !trial || isYoung(this.#breaker, this.#options.clock.nowMs());
    const opened = held && (wasOpen || this.#breaker.kind === 'open');
    return { excused: dead || opened, engineDied: dead && interrupted };
  }

  #apply(event: BreakerEvent): void {
    const before = this.#breaker;
    this.#breaker = applyBreaker(before, event, this.#options.clock.nowMs());
    if (this.#breaker.kind === before.kind) return;
    this.#pausedAtMs =
      this.#breaker.kind === 'closed' ? null : (this.#pausedAtMs ?? this.#options.clock.nowMs());
    if (this.#breaker.kind === 'half_open' && isYoung(this.#breaker, this.#options.clock.nowMs())) {
      if (this.#lastTarget !== null && this.#prober.forTarget(this.#lastTarget) !== null) void this.#prove();
    }
    const fields = { engine: this.url, failures: before.kind === 'closed' ? before.failures + 1 : undefined };
    if (this.#breaker.kind === 'open' && before.kind === 'closed') {
      this.#options.logger.warn(
        fields,
        `engine ${this.url} is ${this.#breaker.dead ? 'gone' : 'failing'}: paused`,
      );
      this.load.forget();
      this.#scheduleSoon();
    } else if (this.#breaker.kind === 'closed' && before.kind !== 'closed') {
      this.#options.logger.info({ engine: this.url }, `engine ${this.url} works again`);
    }
    this.#options.onChange();
  }

  #setHealth(health: Health): Health {
    if (this.#closed) return health;
    this.#health = health;
    const nowMs = this.#options.clock.nowMs();
    if (health === 'alive') {
      this.#awaySinceMs = null;
      this.#apply({ type: 'alive' });
    } else {
      if (health === 'dead' || this.#breaker.kind === 'open') this.#awaySinceMs ??= nowMs;
      if (health === 'dead') this.#apply({ type: 'dead' });
    }
    return health;
  }

  #scheduleSoon(): void {
    this.#cancelLook();
    this.#cancelLook = this.#options.clock.after(BUSY_INTERVAL_MS / 2, () => void this.#turn());
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#cancelLook();
    const idle = this.load.inFlight === 0 && this.#breaker.kind === 'closed';
    const intervalMs = idle ? IDLE_INTERVAL_MS : BUSY_INTERVAL_MS;
    this.#cancelLook = this.#options.clock.after(intervalMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    if (!this.#looking) {
      this.#looking = true;
      await this.#look();
      this.#looking = false;
    }
    this.#schedule();
  }

  /** One look: health, gauges, a step of the window. */
  async #look(): Promise<void> {
    const before = this.load.window;
    const [health] = await Promise.all([this.checkHealth(), this.load.steered ? this.#readGauges() : null]);
    if (health === 'alive') this.load.tick();
    else if (this.#breaker.kind === 'open' && (await this.#proof())) {
      this.#health = 'alive';
      this.#awaySinceMs = null;
      this.#apply({ type: 'proved' });
    }
    await this.#relist();
    if (this.load.window > before) this.#options.onChange();
  }

  /** Engines lose models, get others, load adapters: their list is read again all the time. */
  async #relist(): Promise<void> {
    const { clock, listModels, logger, onModels } = this.#options;
    const nowMs = clock.nowMs();
    if (this.#health !== 'alive' || nowMs - this.#listedAtMs < LIST_INTERVAL_MS) return;
    this.#listedAtMs = nowMs;
    const models = await listModels();
    if (models === null || this.#closed) return;
    const changes = changesOfModels(this.models, models);
    if (changes === null) return;
    this.models = models;
    this.#lostAtMs = models.length === 0 ? nowMs : null;
    logger.warn({ engine: this.url }, `engine ${this.url} ${changes}`);
    onModels();
    this.#options.onChange();
  }

  async #readGauges(): Promise<void> {
    const read = await this.#gauges.read();
    if (read !== null) this.load.observe(read.gauges, read.ms);
  }
}
