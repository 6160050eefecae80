import { backlogGrowthConformance } from './backlog-growth-conformance.js';
import { openDatabase } from './dialect.js';
import { sqlLedger } from './sql-ledger.js';

backlogGrowthConformance('SQLite', async (onStatement) => {
  const database = await openDatabase({ sqliteFile: ':memory:', onStatement });
  const ledger = sqlLedger(database, { nowMs: () => 0 });
  await ledger.migrate();
  return { ledger, database, close: () => ledger.close() };
});
