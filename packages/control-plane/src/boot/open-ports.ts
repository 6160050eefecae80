import { accessSync, constants, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { OfferPublisher } from '@batch-infer/transport';
import { DirectHub } from '@batch-infer/transport/direct';
import { openBlobs } from '../blobs/open-blobs.js';
import type { ControlPlaneConfig } from '../config.js';
import { ApiKeyFile, ApiKeysFileError } from '../http/auth/key-file.js';
import { type DataFolderLock, DataFolderLockedError, lockDataFolder } from '../ledger/lock-data-folder.js';
import { CONNECTION_LIMITS } from '../ledger/postgres-connections.js';
import { SignalRelay } from '../ledger/signal-relay.js';
import { openLedger } from '../ledger/sql-ledger.js';
import { type Blobs, StorageFullError } from '../ports/blobs.js';
import type { Clock, LedgerClock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { Signals } from '../ports/signals.js';
import type { Logger } from '../telemetry/logger.js';
import { BootError, codeOf } from './boot-error.js';
import { isReadableByAll, makeDataFolderPrivate } from './private-files.js';

/** Makes the data folder and takes it for this process; `null` when the ledger is a database server. @throws BootError */
export async function takeDataFolder(
  config: ControlPlaneConfig,
  { logger }: { logger: Logger },
): Promise<DataFolderLock | null> {
  const embedded = config.databaseUrl === null;
  if (!embedded && config.blobsUrl !== null) return null;
  const folder = resolve(config.dataDir);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK | constants.X_OK);
    const lock = embedded ? await lockDataFolder(folder) : null;
    for (const path of makeDataFolderPrivate(folder))
      logger.warn(
        { path },
        'other users of this machine can read this: chmod go-rwx it, or use a folder of your own',
      );
    return lock;
  } catch (error) {
    if (error instanceof DataFolderLockedError) throw new BootError(error.message, { cause: error });
    if (isFull(error)) throw diskFull(folder, error);
    throw new BootError(
      `The data folder ${folder} cannot be written (${codeOf(error)}). Make it writable, or choose another one with --data.`,
      { cause: error },
    );
  }
}

const isFull = (error: unknown): boolean =>
  error instanceof StorageFullError || ['ENOSPC', 'EDQUOT', 'SQLITE_FULL'].includes(codeOf(error));

const diskFull = (folder: string, cause: unknown): BootError =>
  new BootError(`The disk of the data folder ${folder} is full. Free some space, then start again.`, {
    cause,
  });

/** Opens the ledger and brings its schema up to date. @throws BootError */
export async function openMigratedLedger(
  config: ControlPlaneConfig,
  { clock, logger }: { clock: LedgerClock; logger: Logger },
): Promise<Ledger> {
  const where =
    config.databaseUrl === null
      ? { sqliteFile: join(resolve(config.dataDir), 'ledger.db') }
      : { databaseUrl: config.databaseUrl };
  let ledger: Ledger | null = null;
  try {
    ledger = await openLedger({
      ...where,
      clock,
      maxConnections: config.databaseConnections,
      connectionLimits: { ...CONNECTION_LIMITS, queryMs: config.databaseSilenceMs },
    });
    await ledger.migrate({
      onWaiting: (seconds) =>
        logger.info({ seconds }, 'waiting for another process that brings the schema up to date'),
    });
    const opened = ledger;
    await clock.measure(() => opened.serverTimeMs());
    return ledger;
  } catch (error) {
    await ledger?.close().catch(() => {});
    if (config.databaseUrl !== null) throw databaseError(error, config.databaseUrl);
    throw isFull(error) ? diskFull(resolve(config.dataDir), error) : error;
  }
}

/** Between the control planes of one database; one that is alone has nobody to tell. */
export async function openSignalRelay(
  config: ControlPlaneConfig,
  { signals, logger }: { signals: Signals; logger: Logger },
): Promise<SignalRelay | null> {
  if (config.databaseUrl === null) return null;
  const relay = new SignalRelay({ databaseUrl: config.databaseUrl, signals, logger });
  await relay.start();
  return relay;
}

/** The URL's password must not be shown: only its host is. */
function databaseError(error: unknown, databaseUrl: string): BootError {
  const { host, pathname } = new URL(databaseUrl);
  return new BootError(
    `The database ${pathname.slice(1)} at ${host} cannot be used (${codeOf(error)}). Start it, or correct --database-url.`,
    { cause: error },
  );
}

/** Opens the blob store and sees that it answers. @throws BootError */
export async function openCheckedBlobs(config: ControlPlaneConfig): Promise<Blobs> {
  let blobs: Blobs | null = null;
  try {
    blobs = await openBlobs({ ...config, dataDir: resolve(config.dataDir) });
    await blobs.check();
    return blobs;
  } catch (error) {
    await blobs?.close().catch(() => {});
    if (config.blobsUrl === null && isFull(error)) {
      throw diskFull(resolve(config.dataDir), error);
    }
    const where = config.blobsUrl ?? `the folder ${join(resolve(config.dataDir), 'blobs')}`;
    throw new BootError(
      `The blob store ${where} cannot be used (${codeOf(error)}). Check that it exists and may be written${config.blobsUrl === null ? '' : ', and its credentials and --s3-endpoint'}.`,
      { cause: error },
    );
  }
}

/** Brokers that are away fail no boot: readiness says degraded until offers travel. @throws BootError */
export async function openPublisher(config: ControlPlaneConfig, logger: Logger): Promise<OfferPublisher> {
  if (config.kafkaBrokers.length === 0) return new DirectHub();
  // The Kafka client takes half a second to load: only those who use it wait for it.
  const kafka = await import('@batch-infer/transport/kafka');
  try {
    const options = kafka.parseKafkaOptions(config.kafkaSettings, {
      brokers: config.kafkaBrokers,
      clientId: 'batch-infer-control-plane',
    });
    return kafka.createKafkaPublisher({ options, logger });
  } catch (error) {
    if (error instanceof kafka.KafkaOptionsError) throw new BootError(error.message, { cause: error });
    throw error;
  }
}

/** @throws BootError */
export async function openKeyFile(
  config: ControlPlaneConfig,
  { clock, logger }: { clock: Clock; logger: Logger },
): Promise<ApiKeyFile | null> {
  if (config.apiKeysFile === null) return null;
  try {
    const path = resolve(config.apiKeysFile);
    const file = await ApiKeyFile.open({ path, clock, logger });
    if (isReadableByAll(path))
      logger.warn({ path }, 'every user of this machine can read the file of API keys: chmod o-rwx it');
    return file;
  } catch (error) {
    if (!(error instanceof ApiKeysFileError)) throw error;
    throw new BootError(`${error.message} Correct the file, or name another one with --api-keys-file.`, {
      cause: error,
    });
  }
}
