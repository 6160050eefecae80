import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Schema } from './schema.js';

/** Runs work in a transaction of its own, as far as it can tell. */
export type Begin = <T>(work: (transaction: Transaction<Schema>) => Promise<T>) => Promise<T>;

/** Works of one commit at most, and how long the first of them may wait for the others. */
const MAX_WORKS = 64;
const MAX_WAIT_MS = 5;

interface Entry {
  readonly run: (transaction: Transaction<Schema>) => Promise<void>;
  readonly commit: () => void;
  readonly fail: (error: unknown) => void;
}

/**
 * One commit for all transactions that wait for the one connection: what takes time in a commit is the disk's word, and
 * with many writers at once each would wait for the words to all those before it. A transaction is answered only when
 * the commit that holds it is on the disk. One that fails is undone by itself (a savepoint); when the commit fails, or
 * the database has undone everything by itself (a full disk), all of them have failed.
 *
 * @param isOpen whether the database has a transaction open
 */
export function groupCommits(db: Kysely<Schema>, isOpen: () => boolean): Begin {
  const waiting: Entry[] = [];
  let running = false;

  async function runAll(): Promise<void> {
    running = true;
    while (waiting.length > 0) {
      await commitSome(db, waiting, isOpen);
      // Reads that wait for the connection go first, and whoever has just arrived joins the next commit.
      await nextTurn();
    }
    running = false;
  }

  return <T>(work: (transaction: Transaction<Schema>) => Promise<T>) =>
    new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | null = null;
      waiting.push({
        run: async (transaction) => {
          result = { value: await work(transaction) };
        },
        commit: () => result !== null && resolve(result.value),
        fail: reject,
      });
      if (!running) void runAll();
    });
}

async function commitSome(db: Kysely<Schema>, waiting: Entry[], isOpen: () => boolean): Promise<void> {
  const group: Entry[] = [];
  try {
    await db.transaction().execute(async (transaction) => {
      const deadline = performance.now() + MAX_WAIT_MS;
      for (let entry = waiting.shift(); entry !== undefined; entry = waiting.shift()) {
        group.push(entry);
        // Alone it needs no savepoint: the transaction itself is undone.
        if (group.length === 1) await entry.run(transaction);
        else if (!(await runApart(transaction, entry, isOpen))) group.pop();
        if (group.length >= MAX_WORKS || performance.now() > deadline) return;
      }
    });
  } catch (error) {
    // Also when the transaction could not begin: somebody must hear of it.
    const failed = group.length > 0 ? group : waiting.splice(0, 1);
    for (const entry of failed) entry.fail(error);
    return;
  }
  for (const entry of group) entry.commit();
}

/** False when it failed and was undone; nothing of the others is lost. @throws when everything is undone */
async function runApart(
  transaction: Transaction<Schema>,
  entry: Entry,
  isOpen: () => boolean,
): Promise<boolean> {
  await sql`savepoint one_of_many`.execute(transaction);
  try {
    await entry.run(transaction);
  } catch (error) {
    if (!isOpen()) throw error;
    await sql`rollback to one_of_many`.execute(transaction);
    await sql`release one_of_many`.execute(transaction);
    entry.fail(error);
    return false;
  }
  await sql`release one_of_many`.execute(transaction);
  return true;
}
