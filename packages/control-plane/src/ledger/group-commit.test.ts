import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StorageFullError } from '../ports/blobs.js';
import { type Database, openDatabase } from './dialect.js';
import { migrate } from './migrate.js';
import { range } from './world-conformance.js';

let database: Database;
/** What is committed, as another reader would see it. */
const names = async () =>
  (await database.db.selectFrom('meta').select('name').orderBy('name').execute()).map(({ name }) => name);
const add = (name: string, then: () => void = () => undefined) =>
  database.transaction(async ({ db }) => {
    await db.insertInto('meta').values({ name, value: 1 }).execute();
    then();
    return name;
  });

beforeEach(async () => {
  database = await openDatabase({ sqliteFile: ':memory:' });
  await migrate(database);
});

afterEach(() => database.close());

describe('transactions that wait for each other', () => {
  it('all come to their end, each with its own answer', async () => {
    const wanted = range(0, 500).map((number) => `n${String(number).padStart(3, '0')}`);
    expect(await Promise.all(wanted.map((name) => add(name)))).toEqual(wanted);
    expect(await names()).toEqual(wanted);
  });

  it('see what those before them did', async () => {
    const counts = await Promise.all(
      range(0, 40).map((number) =>
        database.transaction(async ({ db }) => {
          const rows = await db.selectFrom('meta').selectAll().execute();
          await db
            .insertInto('meta')
            .values({ name: `n${number}`, value: 1 })
            .execute();
          return rows.length;
        }),
      ),
    );
    expect(counts).toEqual(range(0, 40));
  });

  it('fail alone: nothing of the failed one stays, and nothing of the others is lost', async () => {
    const refuse = () => {
      throw new Error('refused');
    };
    const ends = await Promise.allSettled(
      range(0, 100).map((number) =>
        add(`n${String(number).padStart(2, '0')}`, number % 3 === 0 ? refuse : undefined),
      ),
    );
    expect(ends.map(({ status }) => status)).toEqual(
      range(0, 100).map((number) => (number % 3 === 0 ? 'rejected' : 'fulfilled')),
    );
    expect(await names()).toEqual(
      range(0, 100)
        .filter((number) => number % 3 !== 0)
        .map((number) => `n${String(number).padStart(2, '0')}`),
    );
  });

  it('fail by a statement alone as well', async () => {
    await add('same');
    const ends = await Promise.allSettled(['a', 'same', 'b', 'same', 'c'].map((name) => add(name)));
    expect(ends.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(await names()).toEqual(['a', 'b', 'c', 'same']);
  });

  it('are not answered before they are committed', async () => {
    const seen: string[][] = [];
    await Promise.all(
      range(0, 30).map(async (number) => {
        const name = await add(`n${number}`);
        const all = await names();
        if (!all.includes(name)) seen.push(all);
      }),
    );
    expect(seen).toEqual([]);
  });

  it('let reads in between', async () => {
    const order: string[] = [];
    const writes = range(0, 300).map((number) => add(`n${number}`).then(() => order.push('write')));
    const read = names().then(() => order.push('read'));
    await Promise.all([...writes, read]);
    expect(order.indexOf('read')).toBeLessThan(300);
  });

  it('all say so when the disk is full, and nothing of them stays half done', async () => {
    const pages = await sql<{ page_count: number }>`pragma page_count`.execute(database.db);
    await sql`pragma max_page_count = ${sql.lit((pages.rows[0]?.page_count ?? 0) + 3)}`.execute(database.db);
    const large = (name: string) =>
      database.transaction(async ({ db }) => {
        for (const part of range(0, 3)) {
          await db
            .insertInto('meta')
            .values({ name: `${name} ${part} ${'x'.repeat(1_500)}`, value: 1 })
            .execute();
        }
      });
    const ends = await Promise.allSettled(range(0, 10).map((number) => large(`n${number}`)));
    for (const end of ends)
      if (end.status === 'rejected') expect(end.reason).toBeInstanceOf(StorageFullError);
    const succeeded = ends.filter(({ status }) => status === 'fulfilled').length;
    expect(succeeded).toBeLessThan(10);
    expect(await names()).toHaveLength(3 * succeeded);
    await sql`pragma max_page_count = 100000`.execute(database.db);
    await add('room again');
    expect(await names()).toContain('room again');
  });

  it('hear of a database that is closed', async () => {
    await database.close();
    const ends = await Promise.allSettled([add('a'), add('b')]);
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    database = await openDatabase({ sqliteFile: ':memory:' });
  });
});
