import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { Clock } from '../clock.js';
import type { RunnerLogger } from '../logger.js';
import { parseGauges } from '../window/gauges.js';
import { isJsonObject, parseJsonObject } from './answer.js';
import { allowance, applyBreaker, type BreakerEvent, type BreakerState, CLOSED } from './breaker.js';
import type { Verdict } from './classify.js';
import { type EngineCall, EngineClient, type EngineRequest } from './client.js';
import type { EngineInfo } from './discovery.js';
import { EngineLoad, type WindowLimits } from './load.js';
import type { EngineReply } from './reply.js';
import { MESSAGES_PATH, MessagesRoute } from './translate/messages-route.js';

/** `silent`: it neither answers nor refuses, as a frozen process or one that has no thread left. */
export type Health = 'alive' | 'dead' | 'silent';

export interface EngineOptions {
  readonly id: string;
  readonly url: string;
  readonly apiKey: string | null;
  readonly limits: WindowLimits;
  readonly clock: Clock;
  readonly logger: RunnerLogger;
  /** Asks it which models it has now; `null` when it does not say. */
  readonly listModels: () => Promise<readonly string[] | null>;
  /** Called when the engine may take more requests than before, or none any more. */
  readonly onChange: () => void;
}

/** How a failed request is to be taken. */
export interface Blame {
  /** The engine was down or going down: the item is not charged. */
  readonly excused: boolean;
  /** It died while it ran the item. */
  readonly engineDied: boolean;
}

const HEALTH_TIMEOUT_MS = 2_000;
const METRICS_TIMEOUT_MS = 1_500;
const BUSY_INTERVAL_MS = 500;
const IDLE_INTERVAL_MS = 2_000;
/** An engine without `/metrics` is asked again after so many looks. */
const METRICS_AGAIN_LOOKS = 60;
/** Its models are asked for no more often than this, however many requests say that one is missing. */
const LIST_INTERVAL_MS = 5_000;
const SPARE_CONNECTIONS = 8;
const MAX_CONNECTIONS = 1_024;

const TRANSPORT_FAILURES: ReadonlySet<string> = new Set([
  'engine_unreachable',
  'connection_lost',
  'engine_aborted',
]);
const BREAKER_FAILURES: ReadonlySet<string> = new Set([
  ...TRANSPORT_FAILURES,
  ...['engine_error', 'item_timeout', 'invalid_response'],
]);

/** One engine: its connections, window, breaker and health. */
export class Engine {
  readonly id: string;
  readonly url: string;
  readonly load: EngineLoad;
  models: readonly string[] = [];
  /** True while one item has it for itself. */
  exclusive = false;
  readonly #options: EngineOptions;
  readonly #client: EngineClient;
  readonly #messages: MessagesRoute;
  #breaker: BreakerState = CLOSED;
  #health: Health = 'silent';
  /** Since when it has not been alive; `null` while it is. */
  #awaySinceMs: number | null = null;
  #checking: Promise<Health> | null = null;
  #listing: { readonly atMs: number; readonly models: Promise<readonly string[] | null> } | null = null;
  #llamaCpp = false;
  #slots: number | null = null;
  #metricsIn = 0;
  #looking = false;
  #cancelLook: () => void = () => {};
  #closed = false;

  constructor(options: EngineOptions) {
    this.id = options.id;
    this.url = options.url;
    this.#options = options;
    this.load = new EngineLoad(options.clock, options.limits);
    this.#client = new EngineClient({
      url: options.url,
      apiKey: options.apiKey,
      connections: (options.limits.window ?? MAX_CONNECTIONS) + SPARE_CONNECTIONS,
      clock: options.clock,
    });
    this.#messages = new MessagesRoute(this.#client);
  }

  /** Takes the engine into use. */
  async connect(info: EngineInfo): Promise<void> {
    this.models = info.models;
    this.#llamaCpp = info.llamaCpp;
    this.#health = 'alive';
    await this.#look();
    this.#schedule();
  }

  serves(model: string): boolean {
    return this.models.includes(model);
  }

  /** Requests it may be sent now. */
  get free(): number {
    if (this.models.length === 0 || this.exclusive) return 0;
    return Math.max(0, Math.min(this.load.window - this.load.inFlight, allowance(this.#breaker)));
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

  /** Milliseconds for which it has been away; 0 while it is there. */
  get awayMs(): number {
    return this.#awaySinceMs === null ? 0 : this.#options.clock.nowMs() - this.#awaySinceMs;
  }

  get report(): RunnerReport['engines'][number] {
    return {
      id: this.id,
      models: [...this.models],
      healthy: this.models.length > 0 && this.#breaker.kind === 'closed',
      window: this.load.window,
      in_flight: this.load.inFlight,
      problem: this.#problem(),
    };
  }

  /** `trial`: it is one of the few that show whether the engine works again. */
  send(request: EngineRequest): { readonly call: EngineCall; readonly trial: boolean } {
    const trial = this.onTrial;
    this.load.inFlight += 1;
    this.#apply({ type: 'sent' });
    const route = request.path === MESSAGES_PATH ? this.#messages : this.#client;
    return { call: route.post(request), trial };
  }

  /**
   * To be called once for every `send`, before its outcome is acted on. `null`: we ended it ourselves. `repeated`: the
   * item has failed before while others did not, so that its failure tells nothing of the engine.
   */
  async received(verdict: Verdict | null, sent: { trial: boolean; repeated: boolean }): Promise<Blame> {
    this.load.inFlight -= 1;
    const wasOpen = this.#breaker.kind === 'open';
    if (verdict === null) this.#apply({ type: 'unsettled' });
    else {
      this.load.note(verdict);
      if (verdict.ok || !BREAKER_FAILURES.has(verdict.code)) {
        this.#apply({ type: !verdict.ok && verdict.code === 'engine_overloaded' ? 'unsettled' : 'success' });
      } else return this.#failed(verdict, sent, wasOpen);
    }
    return { excused: false, engineDied: false };
  }

  /** True when it has lost a model that it had, as its own list says; `false` also when it does not say. */
  async hasLost(model: string): Promise<boolean> {
    const nowMs = this.#options.clock.nowMs();
    if (this.#listing === null || nowMs - this.#listing.atMs >= LIST_INTERVAL_MS) {
      this.#listing = { atMs: nowMs, models: this.#options.listModels() };
    }
    const models = await this.#listing.models;
    return models !== null && !models.includes(model);
  }

  /** Sends it no more requests for this model. */
  drop(model: string): void {
    if (!this.serves(model)) return;
    this.models = this.models.filter((name) => name !== model);
    this.#options.logger.warn(
      { engine: this.url, model },
      `engine ${this.url} does not serve ${model} any more`,
    );
  }

  /** The supervisor saw its process end. */
  died(): void {
    this.#setHealth('dead');
  }

  /** Looks at the engine's health now; looks under way are shared. */
  checkHealth(): Promise<Health> {
    this.#checking ??= this.#askHealth()
      .then((health) => this.#setHealth(health))
      .finally(() => {
        this.#checking = null;
      });
    return this.#checking;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook();
    await this.#client.close();
  }

  async #askHealth(): Promise<Health> {
    const reply = await this.#client.get('/health', HEALTH_TIMEOUT_MS);
    const raced = reply.kind === 'broken' && reply.broken === 'raced';
    return healthOf(raced ? await this.#client.get('/health', HEALTH_TIMEOUT_MS) : reply);
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
    const opened = !trial && (wasOpen || this.#breaker.kind === 'open');
    return { excused: dead || opened, engineDied: dead && interrupted };
  }

  #apply(event: BreakerEvent): void {
    const before = this.#breaker;
    this.#breaker = applyBreaker(before, event, this.#options.clock.nowMs());
    if (this.#breaker.kind === before.kind) return;
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

  #problem(): string | null {
    if (this.models.length === 0) return `no engine answers at ${this.url}`;
    if (this.#breaker.kind === 'closed') return null;
    if (this.#health === 'dead') return `the engine at ${this.url} is gone`;
    return this.#health === 'silent'
      ? `the engine at ${this.url} does not answer`
      : `the engine at ${this.url} fails every request`;
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
    if (this.load.window > before) this.#options.onChange();
  }

  async #readGauges(): Promise<void> {
    this.#metricsIn -= 1;
    if (this.#metricsIn > 0) return;
    if (this.#llamaCpp && this.#slots === null) this.#slots = await this.#readSlots();
    const reply = await this.#client.get('/metrics', METRICS_TIMEOUT_MS);
    if (reply.kind !== 'answer') return;
    const gauges = reply.status === 200 ? parseGauges(reply.body.toString('utf8'), this.#slots) : null;
    this.load.observe(gauges, reply.ms);
    this.#metricsIn = gauges === null ? METRICS_AGAIN_LOOKS : 0;
  }

  async #readSlots(): Promise<number | null> {
    const reply = await this.#client.get('/props', METRICS_TIMEOUT_MS);
    const props = reply.kind === 'answer' ? parseJsonObject(reply.body.toString('utf8')) : null;
    const slots = isJsonObject(props) ? props.total_slots : null;
    return typeof slots === 'number' && slots > 0 ? slots : null;
  }
}

/** vLLM answers 503 when its engine is dead, llama.cpp while it loads; a server without the route is there all the same. */
function healthOf(reply: EngineReply): Health {
  if (reply.kind === 'answer') return reply.status >= 500 ? 'dead' : 'alive';
  return reply.kind === 'broken' ? 'dead' : 'silent';
}
