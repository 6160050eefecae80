import { withDeadline } from './deadline.js';

/** A connection of kafkajs: an admin or a producer. */
export interface Connectable {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

/** How long leaving may take before nobody waits for it any more. */
const LEAVE_LIMIT_MS = 2_000;

interface Session<Connection> {
  readonly connection: Connection;
  readonly connected: Promise<void>;
  /** Calls that still use it: a connection that one call gave up is not taken away from the others. */
  users: number;
  isGivenUp: boolean;
}

/**
 * A connection that is replaced after a failure: what it has cached may be the reason, and one that went silent stays
 * silent. Every use ends in time.
 */
export class KafkajsSession<Connection extends Connectable> {
  readonly #open: () => Connection;
  #current: Session<Connection> | null = null;

  constructor(open: () => Connection) {
    this.#open = open;
  }

  /** @throws {DeadlineError} after `timeoutMs`, connecting included. */
  async use<Result>(
    work: (connection: Connection) => Promise<Result>,
    { timeoutMs, what }: { timeoutMs: number; what: string },
  ): Promise<Result> {
    const session = this.#join();
    try {
      const result = session.connected.then(() => work(session.connection));
      return await withDeadline(result, { timeoutMs, what });
    } catch (error) {
      this.#giveUp(session);
      throw error;
    } finally {
      session.users -= 1;
      leaveUnused(session);
    }
  }

  /** The next use connects anew. */
  discard(): void {
    if (this.#current !== null) this.#giveUp(this.#current);
  }

  async close(): Promise<void> {
    const session = this.#current;
    this.#current = null;
    await session?.connection.disconnect();
  }

  #join(): Session<Connection> {
    if (this.#current === null) {
      const connection = this.#open();
      const connected = connection.connect();
      // Its users are told; without one nobody else would hear of it.
      connected.catch(() => {});
      this.#current = { connection, connected, users: 0, isGivenUp: false };
    }
    this.#current.users += 1;
    return this.#current;
  }

  #giveUp(session: Session<Connection>): void {
    session.isGivenUp = true;
    if (this.#current === session) this.#current = null;
    leaveUnused(session);
  }
}

function leaveUnused({ connection, users, isGivenUp }: Session<Connectable>): void {
  if (!isGivenUp || users > 0) return;
  withDeadline(connection.disconnect(), { timeoutMs: LEAVE_LIMIT_MS, what: 'leaving Kafka' }).catch(() => {});
}
