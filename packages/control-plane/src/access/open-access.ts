import type {
  ApiKeyView,
  CreateApiKeyRequest,
  CreatedApiKey,
  RotateApiKeyRequest,
} from '@batch-infer/contracts/access';
import { BootError } from '../boot/boot-error.js';
import { openMigratedLedger, takeDataFolder } from '../boot/open-ports.js';
import { Undo } from '../boot/undo.js';
import { parseControlPlaneConfig } from '../config.js';
import { toApiKeyView, toCreatedApiKey } from '../http/access/access-views.js';
import { DEFAULT_PROJECT_ID } from '../http/auth/project.js';
import { DataFolderLockedError } from '../ledger/lock-data-folder.js';
import { LedgerClock } from '../ports/clock.js';
import { silentLogger } from '../telemetry/logger.js';
import { KeyAdministration } from './key-administration.js';

/** The API keys of a ledger without a server: how the first key is made, and how one gets back in without any. */
export interface OfflineKeys {
  /** @throws DomainError as `POST /v1/keys` */
  create(request: CreateApiKeyRequest): Promise<CreatedApiKey>;
  list(): Promise<ApiKeyView[]>;
  revoke(id: string): Promise<ApiKeyView>;
  rotate(id: string, request: RotateApiKeyRequest): Promise<CreatedApiKey>;
  close(): Promise<void>;
}

/**
 * Opens the keys of a data folder that no server uses, or of a database that servers may use meanwhile.
 * @param where `databaseUrl` (postgres://…), else `dataDir`
 * @throws BootError, ConfigError with the next step
 */
export async function openApiKeys(where: {
  dataDir?: string | undefined;
  databaseUrl?: string | undefined;
}): Promise<OfflineKeys> {
  const config = parseControlPlaneConfig({
    BATCH_INFER_DATA: where.dataDir,
    BATCH_INFER_DATABASE_URL: where.databaseUrl,
  });
  const clock = new LedgerClock();
  const logger = silentLogger();
  const undo = new Undo(logger);
  try {
    if (config.databaseUrl === null) {
      const lock = await takeDataFolder(config, { logger });
      undo.add('data folder', () => lock?.release());
    }
    const ledger = await openMigratedLedger(config, { clock, logger });
    undo.add('ledger', () => ledger.close());
    const keys = new KeyAdministration({ ledger, clock });
    return {
      create: async (request) =>
        toCreatedApiKey(
          await keys.create({ projectId: null, defaultProjectId: DEFAULT_PROJECT_ID, request }),
        ),
      list: async () => (await keys.list(null)).map(toApiKeyView),
      revoke: async (id) => toApiKeyView(await keys.revoke(null, id)),
      rotate: async (id, request) => toCreatedApiKey(await keys.rotate(null, id, request)),
      close: () => undo.run(),
    };
  } catch (error) {
    await undo.run();
    if (!(error instanceof BootError && error.cause instanceof DataFolderLockedError)) throw error;
    throw new BootError(
      `${error.message} While it runs, keys are made through it: leave --data out, and give --base-url and the key of an administrator.`,
      { cause: error },
    );
  }
}

/**
 * Makes one API key and closes the ledger again.
 * @throws BootError, ConfigError, DomainError
 */
export async function createApiKey(
  where: Parameters<typeof openApiKeys>[0],
  request: CreateApiKeyRequest,
): Promise<CreatedApiKey> {
  const keys = await openApiKeys(where);
  try {
    return await keys.create(request);
  } finally {
    await keys.close();
  }
}
