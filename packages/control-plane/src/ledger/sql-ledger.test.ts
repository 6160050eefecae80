import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../ports/clock.js';
import { ledgerConformance } from './ledger-conformance.js';
import { openLedger } from './sql-ledger.js';

ledgerConformance(
  'SQLite',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'batch-infer-ledger-'));
    const ledger = await openLedger({ sqliteFile: join(folder, 'ledger.db'), clock: systemClock });
    await ledger.migrate();
    return {
      ledger,
      close: async () => {
        await ledger.close();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
  Number(process.env.PROOF_HISTORIES ?? 12),
);
