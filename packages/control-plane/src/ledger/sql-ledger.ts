import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { accessLedger } from './access.js';
import { blobReferenceLedger } from './blob-references.js';
import { deleteJob, listEnded } from './deletion.js';
import { type Database, openDatabase } from './dialect.js';
import { expireLeases } from './expiry.js';
import { createFile, deleteFile, expireFiles, findFile, listFiles } from './files.js';
import { abandonFinalization, claimFinalization, finishJob } from './finalization.js';
import { forgetIdempotency } from './idempotency.js';
import { jobProblemLedger } from './job-problems.js';
import { claimPlanning, createJob, findJob, listJobs, planJob, refuseJob } from './jobs.js';
import { laneLoads } from './lane-loads.js';
import { claimShard, expireRunner, getShard, releaseShard, renewLeases } from './leases.js';
import { migrate } from './migrate.js';
import { offerLaneLedger } from './offer-lanes.js';
import { takeOffers, withdrawOffers } from './offers.js';
import { forgiveOutage, lastAliveMs, markAlive } from './outages.js';
import { pauseLedger } from './pausing.js';
import type { ConnectionLimits } from './postgres-connections.js';
import { countOpenJobs, jobActivity, listSilent, queuePosition } from './progress.js';
import { projectLimitsLedger } from './project-limits.js';
import { backlog, countOrdinals, listSegments, listSegmentsByOrdinal, listShards } from './reads.js';
import { retryJob } from './retry.js';
import { reuseLedger } from './reuse.js';
import { listRunners, removeRunner, saveRunner } from './runners.js';
import { settle } from './settle.js';
import { advanceStopping, listExpired, stopJob } from './stopping.js';
import { uploadLedger } from './uploads.js';
import { listFinalizing, listUnplanned } from './waiting-jobs.js';
import { webhookLedger } from './webhooks.js';

/**
 * Opens the ledger: PostgreSQL when `databaseUrl` is given, else SQLite in `sqliteFile`. The schema is brought up to
 * date by `migrate()`, which the caller runs before anything else.
 */
export async function openLedger(options: {
  databaseUrl?: string | null;
  sqliteFile?: string | null;
  clock: Clock;
  /** Connections to PostgreSQL at most; 10. */
  maxConnections?: number;
  /** How long connections to PostgreSQL may be silent. */
  connectionLimits?: ConnectionLimits;
}): Promise<Ledger> {
  return sqlLedger(await openDatabase(options), options.clock);
}

/** The ledger over a database that the caller opened, and closes. */
export function sqlLedger(database: Database, clock: Clock): Ledger {
  return {
    migrate: (options) => migrate(database, options),
    check: () => check(database, clock),
    serverTimeMs: () => database.serverTimeMs(),
    silentForMs: () => database.silentForMs(),
    lastAliveMs: () => lastAliveMs(database),
    markAlive: (params) => markAlive(database, params),
    close: () => database.close(),

    createFile: (params) => createFile(database, params),
    getFile: (params) => findFile(database, params),
    listFiles: (params) => listFiles(database, params),
    deleteFile: (params) => deleteFile(database, params),
    expireFiles: (params) => expireFiles(database, params),

    createJob: (params) => createJob(database, params),
    planJob: (params) => planJob(database, params),
    claimPlanning: (params) => claimPlanning(database, params),
    refuseJob: (params) => refuseJob(database, params),
    listUnplanned: (params) => listUnplanned(database, params),
    getJob: (params) => findJob(database, params),
    listJobs: (params) => listJobs(database, params),
    listEnded: (params) => listEnded(database, params),
    deleteJob: (params) => deleteJob(database, params),
    jobActivity: (params) => jobActivity(database, params),
    queuePosition: (params) => queuePosition(database, params),
    listSilent: (params) => listSilent(database, params),
    countOpenJobs: () => countOpenJobs(database),

    stopJob: (params) => stopJob(database, params),
    retryJob: (params) => retryJob(database, params),
    listSegments: (params) => listSegments(database, params),
    listSegmentsByOrdinal: (params) => listSegmentsByOrdinal(database, params),
    listShards: (params) => listShards(database, params),
    countOrdinals: (params) => countOrdinals(database, params),

    takeOffers: (params) => takeOffers(database, params),
    withdrawOffers: (params) => withdrawOffers(database, params),
    claimShard: (params) => claimShard(database, params),
    getShard: (params) => getShard(database, params),
    renewLeases: (params) => renewLeases(database, params),
    settle: (params) => settle(database, params),
    releaseShard: (params) => releaseShard(database, params),
    expireLeases: (params) => expireLeases(database, params),
    expireRunner: (params) => expireRunner(database, params),
    forgiveOutage: (params) => forgiveOutage(database, params),

    listExpired: (params) => listExpired(database, params),
    advanceStopping: (params) => advanceStopping(database, params),
    listFinalizing: (params) => listFinalizing(database, params),
    claimFinalization: (params) => claimFinalization(database, params),
    finishJob: (params) => finishJob(database, params),
    abandonFinalization: (params) => abandonFinalization(database, params),

    saveRunner: (params) => saveRunner(database, params),
    removeRunner: (params) => removeRunner(database, params),
    listRunners: (params) => listRunners(database, params),

    forgetIdempotency: (params) => forgetIdempotency(database, params),
    laneLoads: (params) => laneLoads(database, params),
    backlog: (params) => backlog(database, params),

    ...accessLedger(database),
    ...pauseLedger(database),
    ...offerLaneLedger(database),
    ...webhookLedger(database),
    ...projectLimitsLedger(database),
    ...uploadLedger(database),
    ...reuseLedger(database),
    ...jobProblemLedger(database),
    ...blobReferenceLedger(database),
  };
}

/** A write reaches the disk: a full or read-only database is found out here. */
async function check(database: Database, clock: Clock): Promise<void> {
  const value = clock.nowMs();
  await database.transaction(async ({ db }) => {
    await db
      .insertInto('meta')
      .values({ name: 'checked_at', value })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
      .execute();
  });
}
