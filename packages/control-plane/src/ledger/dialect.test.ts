import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StorageFullError } from '../ports/blobs.js';
import { StoreUnavailableError } from '../ports/outage.js';
import { type Database, openDatabase } from './dialect.js';
import { migrate } from './migrate.js';
import { isOutage } from './postgres-errors.js';
import { isTransient } from './transactions.js';
import { range } from './world-conformance.js';

const failure = (code: string): Error => Object.assign(new Error(code), { code });

describe('a database', () => {
  let database: Database;
  beforeEach(async () => {
    database = await openDatabase({ sqliteFile: ':memory:' });
    await migrate(database);
  });
  afterEach(() => database.close());

  it('never interleaves transactions on its one connection', async () => {
    const add = () =>
      database.transaction(async ({ db }) => {
        const row = await db.selectFrom('meta').select('value').where('name', '=', 'n').executeTakeFirst();
        await Promise.resolve();
        await db
          .insertInto('meta')
          .values({ name: 'n', value: 1 })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: (row?.value ?? 0) + 1 }))
          .execute();
      });
    await Promise.all(range(0, 50).map(add));
    expect(await database.db.selectFrom('meta').select('value').executeTakeFirst()).toEqual({ value: 50 });
  });

  it('runs a transaction again that was ended because of others, and keeps nothing of the first run', async () => {
    let runs = 0;
    const answer = await database.transaction(async ({ db }) => {
      runs += 1;
      await db
        .insertInto('meta')
        .values({ name: `run ${runs}`, value: runs })
        .execute();
      if (runs < 3) throw failure(runs === 1 ? '40P01' : '40001');
      return runs;
    });
    expect(answer).toBe(3);
    expect(await database.db.selectFrom('meta').select('name').execute()).toEqual([{ name: 'run 3' }]);
  });

  it('gives other errors on at once, and says of a full disk what to do', async () => {
    let runs = 0;
    const fail = (code: string) =>
      database.transaction(async () => {
        runs += 1;
        throw failure(code);
      });
    await expect(fail('23505')).rejects.toThrow('23505');
    await expect(fail('SQLITE_FULL')).rejects.toThrow(StorageFullError);
    expect(runs).toBe(2);
  });

  it('says so when its disk is full, and goes on when there is room again', async () => {
    const pages = await sql<{ page_count: number }>`pragma page_count`.execute(database.db);
    const limit = async (count: number) =>
      sql`pragma max_page_count = ${sql.lit(count)}`.execute(database.db);
    const fill = () =>
      database.transaction(async ({ db }) => {
        for (const number of range(0, 500)) {
          await db
            .insertInto('meta')
            .values({ name: `${number} ${'x'.repeat(1_000)}`, value: 1 })
            .execute();
        }
      });
    await limit((pages.rows[0]?.page_count ?? 0) + 5);
    await expect(fill()).rejects.toThrow(StorageFullError);
    expect(await database.db.selectFrom('meta').selectAll().execute()).toEqual([]);
    await limit(100_000);
    await fill();
  });

  it('starts on a schema that a later version brought further, unless that needs the later version', async () => {
    await sql`insert into kysely_migration (name, timestamp) values ('999-later', '2030-01-01T00:00:00.000Z')`.execute(
      database.db,
    );
    await migrate(database);
    await database.db.insertInto('meta').values({ name: 'schema_min_version', value: 999 }).execute();
    await expect(migrate(database)).rejects.toThrow('newer version of batch-infer (it has 999-later)');
  });
});

describe('a database file that another program holds', () => {
  it('is waited for without stopping the process, and said to be unavailable when it takes too long', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'batch-infer-held-'));
    const file = join(folder, 'ledger.db');
    const database = await openDatabase({ sqliteFile: file });
    await migrate(database);
    const { default: Sqlite } = await import('better-sqlite3');
    const other = new Sqlite(file);
    const write = (value: number) =>
      database.transaction(async ({ db }) => {
        await db
          .insertInto('meta')
          .values({ name: `held ${value}`, value })
          .execute();
      });
    try {
      other.exec('begin immediate');
      let turns = 0;
      const turn = setInterval(() => {
        turns += 1;
      }, 10);
      await expect(write(1)).rejects.toThrow(StoreUnavailableError);
      clearInterval(turn);
      expect(turns).toBeGreaterThan(10);
      const waiting = write(2);
      other.exec('rollback');
      await waiting;
    } finally {
      other.close();
      await database.close();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('opening a database', () => {
  it('needs a URL or a file', async () => {
    await expect(openDatabase({})).rejects.toThrow('databaseUrl or sqliteFile');
  });
});

describe('an error', () => {
  it.each([
    ['40P01', true],
    ['40001', true],
    ['SQLITE_BUSY', true],
    ['SQLITE_BUSY_SNAPSHOT', true],
    ['23505', false],
    ['ECONNREFUSED', false],
  ])('with the code %s is transient: %s', (code, transient) => {
    expect(isTransient(failure(code))).toBe(transient);
  });

  it.each([
    ['ECONNREFUSED', true],
    ['ECONNRESET', true],
    ['57P01', true],
    ['08006', true],
    ['53300', true],
    ['57014', true],
    ['25006', true],
    ['53100', false],
    ['23505', false],
    ['40P01', false],
    ['42601', false],
  ])('with the code %s is an outage: %s', (code, outage) => {
    expect(isOutage(failure(code))).toBe(outage);
  });

  it('without a code comes from the connection', () => {
    expect(isOutage(new Error('Connection terminated unexpectedly'))).toBe(true);
  });

  it('that is none is not transient', () => {
    expect(isTransient('40P01')).toBe(false);
  });
});
