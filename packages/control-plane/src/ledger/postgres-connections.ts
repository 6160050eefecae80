import { setTimeout as delay } from 'node:timers/promises';
import type { PostgresPool } from 'kysely';
import type { Pool, PoolClient, QueryResult } from 'pg';
import { StoreUnavailableError } from '../ports/outage.js';
import { codeOf, READ_ONLY_STATE, toStoreError, toUnknownError } from './postgres-errors.js';

/** How long a connection may be waited for. */
export interface ConnectionLimits {
  /** Longest time until a connection is made, or one of the pool is free. */
  readonly connectMs: number;
  /** Longest time until a statement is answered; longer than the server's own limit, so that a living server says it. */
  readonly queryMs: number;
  /** A connection that was not used for this long is asked for a sign of life before it is used again. */
  readonly idleMs: number;
  /** Longest time until it gives that sign, and until it has rolled back. */
  readonly signMs: number;
}

/** Silence after which the operating system asks whether the other end lives. */
export const KEEP_ALIVE_DELAY_MS = 10_000;

export const CONNECTION_LIMITS: ConnectionLimits = {
  connectMs: 5_000,
  queryMs: 35_000,
  idleMs: 5_000,
  signMs: 3_000,
};

type Answer = Pick<QueryResult, 'command' | 'rowCount' | 'rows'>;

/** Time for the last word of connections that end in order. */
const GOODBYE_MS = 50;

/** Statements that change rows. Outside a transaction each is one of its own, and commits by itself. */
const WRITES =
  /^\s*(?:insert|update|delete|merge)\b|^\s*with\b[\s\S]*\b(?:insert\s+into|update|delete\s+from)\b/i;

interface Health {
  heardAtMs: number;
  /** The socket is closed, or was given up. */
  broken: boolean;
}

/**
 * The connections of a pool, watched. A connection can go silent without being closed (a pooler that froze, an entry that
 * a NAT or load balancer forgot): the operating system does not tell, and the server's limits do not help. So every
 * statement has a deadline here; a connection that missed it is destroyed, never used again, and all those that were idle
 * since before are not trusted any more.
 */
export class WatchedPool implements PostgresPool {
  readonly #pool: Pool;
  readonly #limits: ConnectionLimits;
  readonly #begin: string;
  readonly #health = new WeakMap<PoolClient, Health>();
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  readonly #isReadOnly = new WeakSet<PoolClient>();
  readonly #open = new Set<PoolClient>();
  /** When silence was last noticed: what was heard of only before that is replaced. */
  #silenceAtMs = Number.NEGATIVE_INFINITY;

  /** @param options.begin what is sent for `begin` */
  constructor(pool: Pool, limits: ConnectionLimits, options: { begin: string }) {
    this.#pool = pool;
    this.#begin = options.begin;
    this.#limits = limits;
    // A broken connection is replaced, and whoever was using it sees its query fail. Without a listener of its own (the
    // pool's is there only while a connection is idle) the event would end the process.
    pool.on('error', () => undefined);
    pool.on('connect', (client) => {
      const health: Health = { heardAtMs: performance.now(), broken: false };
      this.#health.set(client, health);
      this.#open.add(client);
      client.on('error', () => {
        health.broken = true;
      });
      client.on('end', () => {
        health.broken = true;
        this.#open.delete(client);
      });
    });
  }

  /** How long ago the server last answered anything. */
  silentForMs(): number {
    return performance.now() - this.#answeredAtMs;
  }

  get options(): Pool['options'] {
    return this.#pool.options;
  }

  /** Ends all connections; those that do not end by themselves soon are destroyed, and what runs on them fails. */
  async end(): Promise<void> {
    const ended = this.#pool.end();
    const timer = setTimeout(() => this.#destroyAll(), this.#limits.signMs / 2);
    try {
      await ended;
      // Connections that were idle say goodbye; one that is silent would never hear the answer.
      if (this.#open.size > 0) await delay(GOODBYE_MS);
    } finally {
      clearTimeout(timer);
      this.#destroyAll();
    }
  }

  #destroyAll(): void {
    for (const client of this.#open) client.connection.stream.destroy();
  }

  async connect(): ReturnType<PostgresPool['connect']> {
    for (;;) {
      const client = await this.#pool.connect().catch((error: unknown) => {
        throw toStoreError(error);
      });
      const health = this.#healthOf(client);
      if (await this.#isAlive(client, health)) return this.#watched(client, health);
      client.release(true);
    }
  }

  #healthOf(client: PoolClient): Health {
    return this.#health.get(client) ?? { heardAtMs: Number.NEGATIVE_INFINITY, broken: true };
  }

  async #isAlive(client: PoolClient, health: Health): Promise<boolean> {
    if (health.broken || health.heardAtMs < this.#silenceAtMs) return false;
    if (performance.now() - health.heardAtMs < this.#limits.idleMs) return true;
    try {
      await this.#ask(client, health, { text: 'select 1', parameters: [], limitMs: this.#limits.signMs });
      return true;
    } catch {
      return false;
    }
  }

  #watched(client: PoolClient, health: Health): Awaited<ReturnType<PostgresPool['connect']>> {
    let inTransaction = false;
    const query = (text: string, parameters: readonly unknown[]) => {
      const settles = text === 'commit' || (!inTransaction && WRITES.test(text));
      if (text === 'begin') inTransaction = true;
      if (text === 'commit' || text === 'rollback') inTransaction = false;
      if (text === 'rollback') return this.#rollBack(client, health);
      const sent = text === 'begin' ? this.#begin : text;
      return this.#query(client, health, { text: sent, parameters, settles });
    };
    const release = (destroy?: boolean) =>
      client.release(destroy === true || health.broken || this.#isReadOnly.has(client));
    return Object.assign(Object.create(client), { query, release });
  }

  async #query(
    client: PoolClient,
    health: Health,
    { text, parameters, settles }: { text: string; parameters: readonly unknown[]; settles: boolean },
  ): Promise<Answer> {
    if (health.broken) throw new StoreUnavailableError('The connection to the database was lost.');
    try {
      return await this.#ask(client, health, { text, parameters, limitMs: this.#limits.queryMs });
    } catch (error) {
      // The next connection may lead to the server that takes writes now.
      if (codeOf(error) === READ_ONLY_STATE) this.#isReadOnly.add(client);
      throw settles ? toUnknownError(error) : toStoreError(error);
    }
  }

  /** A connection that is gone has nothing to roll back: the server does it by itself, and what failed first is told. */
  async #rollBack(client: PoolClient, health: Health): Promise<Answer> {
    try {
      if (!health.broken) {
        return await this.#ask(client, health, {
          text: 'rollback',
          parameters: [],
          limitMs: this.#limits.signMs,
        });
      }
    } catch {
      health.broken = true;
    }
    return { command: 'ROLLBACK', rowCount: 0, rows: [] };
  }

  async #ask(
    client: PoolClient,
    health: Health,
    { text, parameters, limitMs }: { text: string; parameters: readonly unknown[]; limitMs: number },
  ): Promise<Answer> {
    const timer = setTimeout(() => {
      this.#silenceAtMs = performance.now();
      health.broken = true;
      // The error reaches the query by way of the client.
      client.connection.stream.destroy(new Error(`The database was silent for ${limitMs} ms.`));
    }, limitMs);
    try {
      const result = await client.query(text, parameters.map(toStorable));
      health.heardAtMs = performance.now();
      this.#answeredAtMs = health.heardAtMs;
      return result;
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * PostgreSQL's text holds no NUL and refuses the whole query. Where SQLite takes it, here it becomes U+FFFD: an id with
 * a NUL is then simply unknown.
 */
const toStorable = (value: unknown): unknown =>
  typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\ufffd') : value;
