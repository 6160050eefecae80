import { randomUUID } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import type { Client } from 'pg';
import type { SignalMap, Signals } from '../ports/signals.js';
import type { Logger } from '../telemetry/logger.js';
import { KEEP_ALIVE_DELAY_MS } from './postgres-connections.js';

/**
 * Signals that are of use to other control planes: with them a cancel, a new job or an ended one is seen there in
 * milliseconds instead of at the next tick. What happens with every settle is left out: that would be a message each.
 */
const RELAYED = [
  'work-ready',
  'job-unplanned',
  'job-stopping',
  'job-paused',
  'job-finalizing',
  'stopped-released',
  'leases-over',
] as const satisfies readonly (keyof SignalMap)[];

type Relayed = (typeof RELAYED)[number];

interface Message {
  readonly from: string;
  readonly name: Relayed;
  readonly values: readonly string[];
}

const CHANNEL = 'batch_infer_signals';
/** The same signal again within this is sent once: what it says is "look now". */
const COALESCE_MS = 25;
const RECONNECT_MS = 1_000;
/** Time for a connection to end in order. */
const GOODBYE_MS = 500;

export interface RelayLimits {
  /** Longest time until a connection is made, and until a statement is answered. */
  readonly answerMs: number;
  /** A connection that only listens is asked for a sign of life this often. */
  readonly askIntervalMs: number;
}

const RELAY_LIMITS: RelayLimits = { answerMs: 5_000, askIntervalMs: 10_000 };

/**
 * Carries signals between the control planes of one PostgreSQL ledger, by NOTIFY and LISTEN on a connection of its own.
 * Best effort: signals are hints, and without it every listener finds out by its own ticks.
 */
export class SignalRelay {
  readonly #databaseUrl: string;
  readonly #signals: Signals;
  readonly #logger: Logger;
  readonly #limits: RelayLimits;
  readonly #id = randomUUID();
  readonly #pending = new Set<string>();
  readonly #stopListening: (() => void)[] = [];
  #client: Client | null = null;
  #reconnect: NodeJS.Timeout | null = null;
  #asking: NodeJS.Timeout | null = null;
  #lastAsked: Promise<unknown> = Promise.resolve();
  #onEcho: () => void = () => {};
  #probeTimer: NodeJS.Timeout | null = null;
  #probing: Promise<void> | null = null;
  #relaying = false;
  #closed = false;

  constructor(params: { databaseUrl: string; signals: Signals; logger: Logger; limits?: RelayLimits }) {
    this.#databaseUrl = params.databaseUrl;
    this.#limits = params.limits ?? RELAY_LIMITS;
    this.#signals = params.signals;
    this.#logger = params.logger;
  }

  /** Begins; resolves when the first connection listens or has failed (it is tried again by itself). */
  async start(): Promise<void> {
    for (const name of RELAYED) {
      const listener = (...values: readonly string[]) => this.#send(name, values);
      this.#signals.on(name, listener);
      this.#stopListening.push(() => this.#signals.off(name, listener));
    }
    await this.#connect();
    this.#probing = this.#probe();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stopListening) stop();
    if (this.#reconnect) clearTimeout(this.#reconnect);
    if (this.#asking) clearInterval(this.#asking);
    if (this.#probeTimer) clearTimeout(this.#probeTimer);
    this.#onEcho();
    await this.#probing;
    const client = this.#client;
    if (client === null) return;
    const timer = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS);
    await client.end().catch(() => {});
    clearTimeout(timer);
  }

  /** Behind a pooler in transaction mode LISTEN is taken and nothing is ever heard: that is said, once. */
  async #probe(): Promise<void> {
    const heard = new Promise<boolean>((resolve) => {
      this.#onEcho = () => resolve(true);
      this.#probeTimer = setTimeout(() => resolve(false), this.#limits.answerMs);
    });
    const sender = await this.#newClient();
    sender.on('error', () => {});
    try {
      await sender.connect();
      await sender.query('select pg_notify($1, $2)', [CHANNEL, this.#id]);
    } catch {
      return;
    } finally {
      sender.connection.stream.destroy();
    }
    if ((await heard) || this.#closed || this.#client === null) return;
    this.#logger.warn(
      'signals of other control planes are not heard: --database-url seems to lead through a pooler in transaction mode. All goes on, but a cancel or a new job reaches other control planes only with their next look, seconds later. Use a direct address, or a pool in session mode.',
    );
  }

  async #newClient(): Promise<Client> {
    const { Client } = await import('pg');
    return new Client({
      connectionString: this.#databaseUrl,
      application_name: 'batch-infer signals',
      connectionTimeoutMillis: this.#limits.answerMs,
      query_timeout: this.#limits.answerMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    });
  }

  async #connect(): Promise<void> {
    const client = await this.#newClient();
    client.on('notification', ({ payload }) => this.#receive(payload ?? ''));
    client.on('error', () => {});
    client.once('end', () => this.#lost(client));
    this.#client = client;
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.#asking = setInterval(() => this.#askForLife(client), this.#limits.askIntervalMs);
    } catch (error) {
      this.#logger.debug({ error }, 'signals of other control planes are not heard now');
      this.#lost(client);
    }
  }

  /** A connection on which nothing is sent can go silent without anybody noticing. */
  #askForLife(client: Client): void {
    this.#ask(client, 'select 1').catch((error: unknown) => {
      this.#logger.debug({ error }, 'signals of other control planes are not heard now');
      this.#lost(client);
    });
  }

  /** One after the other: the driver takes one statement at a time. */
  #ask(client: Client, text: string, values: readonly string[] = []): Promise<unknown> {
    const asked = this.#lastAsked.then(() => client.query(text, [...values]));
    this.#lastAsked = asked.catch(() => undefined);
    return asked;
  }

  #lost(client: Client): void {
    if (this.#closed || this.#client !== client) return;
    this.#client = null;
    if (this.#asking) clearInterval(this.#asking);
    // Not `end`: one that is silent would never answer it.
    client.connection.stream.destroy();
    this.#reconnect = setTimeout(() => void this.#connect(), RECONNECT_MS);
  }

  #send(name: Relayed, values: readonly string[]): void {
    // What came from another one is not sent back.
    if (this.#relaying || this.#closed) return;
    const payload = JSON.stringify({ from: this.#id, name, values } satisfies Message);
    if (this.#pending.has(payload)) return;
    this.#pending.add(payload);
    setTimeout(() => {
      this.#pending.delete(payload);
      if (this.#client === null) return;
      this.#ask(this.#client, 'select pg_notify($1, $2)', [CHANNEL, payload]).catch(() => {});
    }, COALESCE_MS).unref();
  }

  #receive(payload: string): void {
    // The probe's own word: nobody else knows this text, and nobody else minds it.
    if (payload === this.#id) {
      this.#onEcho();
      return;
    }
    const message = parse(payload);
    if (message === null || message.from === this.#id || this.#closed) return;
    this.#relaying = true;
    try {
      // Listeners are called at once, so that the mark holds for all that they emit.
      emit(this.#signals, message);
    } finally {
      this.#relaying = false;
    }
  }
}

/** The values of a relayed signal are texts; `EventEmitter`'s types cannot know which and how many. */
function emit(signals: EventEmitter, { name, values }: Message): void {
  signals.emit(name, ...values);
}

/** `null` for what is none of ours: another version may send other signals. */
function parse(payload: string): Message | null {
  try {
    const message = JSON.parse(payload) as Partial<Message>;
    const isOurs =
      typeof message.from === 'string' &&
      RELAYED.some((name) => name === message.name) &&
      Array.isArray(message.values) &&
      message.values.every((value) => typeof value === 'string');
    return isOurs ? (message as Message) : null;
  } catch {
    return null;
  }
}
