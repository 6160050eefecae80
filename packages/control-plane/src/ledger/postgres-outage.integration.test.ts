import { randomUUID } from 'node:crypto';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client } from 'pg';
import { expect, it } from 'vitest';
import { systemClock } from '../ports/clock.js';
import { openLedger } from './sql-ledger.js';
import { LedgerWorld, range } from './world-conformance.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'a ledger whose connections break');

it.runIf(serverUrl !== null)(
  'the ledger outlives connections that the server ends in the middle of transactions, and its accounts stay right',
  async () => {
    const admin = new Client({ connectionString: serverUrl ?? '' });
    await admin.connect();
    const name = `outage_${randomUUID().replaceAll('-', '')}`;
    await admin.query(`create database ${name}`);
    const databaseUrl = new URL(serverUrl ?? '');
    databaseUrl.pathname = `/${name}`;
    const ledger = await openLedger({ databaseUrl: databaseUrl.href, clock: systemClock });
    const world = new LedgerWorld({ ledger, close: () => ledger.close() });
    try {
      await ledger.migrate();
      const job = await world.job({ shards: range(0, 20).map(() => 8) });
      const endConnections = () =>
        admin.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
      const settleUntilDone = async (place: number): Promise<number> => {
        let broken = 0;
        for (;;) {
          try {
            const shard = (await world.shards(job))[place];
            if (shard === undefined) throw new Error('no shard');
            if (shard.state === 'done') return broken;
            const lease = shard.state === 'leased' ? shard : await world.claim(shard);
            await world.settleAll(lease);
          } catch {
            broken += 1;
          }
        }
      };
      const work = Promise.all(range(0, 20).map(settleUntilDone));
      let ended = false;
      const broken = work.finally(() => {
        ended = true;
      });
      for (let round = 0; round < 10 && !ended; round += 1) await endConnections();
      expect((await broken).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
      expect(await world.current(job)).toMatchObject({ state: 'finalizing', succeeded: 160 });
    } finally {
      await world.close();
      await admin.query(`drop database if exists ${name} with (force)`);
      await admin.end();
    }
  },
);
