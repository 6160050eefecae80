import { afterEach, beforeEach, describe } from 'vitest';
import { accessConformance } from './access-conformance.js';
import { admissionConformance } from './admission-conformance.js';
import { controlConformance } from './control-conformance.js';
import { createConformance } from './create-conformance.js';
import { deletionConformance } from './deletion-conformance.js';
import { endingConformance } from './ending-conformance.js';
import { expiryConformance } from './expiry-conformance.js';
import { jobProblemsConformance } from './job-problems-conformance.js';
import { leasesConformance } from './leases-conformance.js';
import { offerLanesConformance } from './offer-lanes-conformance.js';
import { planConformance } from './plan-conformance.js';
import { randomConformance } from './random-conformance.js';
import { readsConformance } from './reads-conformance.js';
import { repeatedClaimsConformance } from './repeated-claims-conformance.js';
import { requestBudgetConformance } from './request-budget-conformance.js';
import { retryConformance } from './retry-conformance.js';
import { reuseConformance } from './reuse-conformance.js';
import { uploadsConformance } from './uploads-conformance.js';
import { webhooksConformance } from './webhooks-conformance.js';
import { LedgerWorld, type OpenLedgerHarness } from './world-conformance.js';

/**
 * What every ledger must do. The accounting of each job (I2) is checked after each test.
 *
 *     ledgerConformance('SQLite', async () => ({ ledger, close }));
 *
 * @param histories how many random ones are played
 */
export function ledgerConformance(name: string, open: OpenLedgerHarness, histories = 12): void {
  describe(`the ledger on ${name}`, () => {
    let world: LedgerWorld;
    beforeEach(async () => {
      world = new LedgerWorld(await open());
    });
    afterEach(() => world.close());

    createConformance(() => world);
    leasesConformance(() => world);
    repeatedClaimsConformance(() => world);
    expiryConformance(() => world);
    endingConformance(() => world);
    retryConformance(() => world);
    readsConformance(() => world);
    uploadsConformance(() => world);
    deletionConformance(() => world);
    planConformance(() => world);
    jobProblemsConformance(() => world);
    reuseConformance(() => world);
    randomConformance(() => world, histories);
    accessConformance(() => world);
    controlConformance(() => world);
    requestBudgetConformance(() => world);
    webhooksConformance(() => world);
    admissionConformance(() => world);
    offerLanesConformance(() => world);
  });
}
