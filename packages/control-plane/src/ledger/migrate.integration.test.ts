import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { expect, it } from 'vitest';
import { openDatabase } from './dialect.js';
import { migrate } from './migrate.js';
import { createOwnDatabase } from './own-database-fixture.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'migrations of PostgreSQL');

it.runIf(serverUrl !== null)(
  'a process waits for the migrations of another one, longer than any statement may take',
  async () => {
    const own = await createOwnDatabase(serverUrl ?? '');
    const connectionLimits = { connectMs: 5_000, queryMs: 500, idleMs: 60_000, signMs: 500 };
    const open = () => openDatabase({ databaseUrl: own.databaseUrl, connectionLimits });
    const [first, second] = [await open(), await open()];
    try {
      await migrate(first);
      const { promise: held, resolve: release } = Promise.withResolvers<void>();
      const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
      const holding = first.withMigrationLock(async () => {
        begin();
        await held;
      });
      await begun;
      let isMigrated = false;
      const waiting = migrate(second).then(() => {
        isMigrated = true;
      });
      const endsAt = performance.now() + 3 * connectionLimits.queryMs;
      await expect.poll(() => performance.now() > endsAt).toBe(true);
      expect(isMigrated).toBe(false);
      release();
      await Promise.all([holding, waiting]);
    } finally {
      await first.close();
      await second.close();
      await own.drop();
    }
  },
  60_000,
);
