import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { expect, it } from 'vitest';
import { LedgerClock } from '../ports/clock.js';
import { createOwnDatabase } from './own-database-fixture.js';
import { openLedger } from './sql-ledger.js';
import { LEASE_MS, LedgerWorld } from './world-conformance.js';

const serverUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'the clock of a PostgreSQL ledger');

it.runIf(serverUrl !== null)(
  'control planes whose clocks are minutes apart judge leases and deadlines by one clock, that of the database',
  async () => {
    const own = await createOwnDatabase(serverUrl ?? '');
    const open = async (skewMs: number) => {
      const clock = new LedgerClock({ wallMs: () => Date.now() + skewMs });
      const ledger = await openLedger({ databaseUrl: own.databaseUrl, clock });
      await ledger.migrate();
      await clock.measure(() => ledger.serverTimeMs());
      return { clock, ledger };
    };
    const early = await open(-300_000);
    const late = await open(300_000);
    const world = new LedgerWorld({ ledger: early.ledger, close: () => early.ledger.close() });
    try {
      expect(Math.abs(early.clock.nowMs() - late.clock.nowMs())).toBeLessThan(2_000);
      world.nowMs = early.clock.nowMs();
      const job = await world.job({ shards: [4] });
      const [shard] = await world.shards(job);
      if (shard === undefined) throw new Error('no shard');
      const lease = await world.claim(shard);
      const sweep = () => late.ledger.expireLeases({ nowMs: late.clock.nowMs(), limit: 10 });
      expect((await sweep()).released).toBe(0);
      expect(lease.leaseUntilMs).toBeGreaterThan(late.clock.nowMs() + LEASE_MS / 2);
    } finally {
      await world.close();
      await late.ledger.close();
      await own.drop();
    }
  },
  60_000,
);
