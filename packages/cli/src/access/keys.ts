import type { ApiKeyView, CreateApiKeyRequest, CreatedApiKey } from '@batch-infer/contracts/access';
import type { NewFileKey } from '@batch-infer/control-plane';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import type { Settings } from '../settings/settings.js';
import { toWireJson } from '../terminal/wire-json.js';

/** Keys of a server, or of a ledger without one; both as the API spells them. */
export interface Keys {
  create(request: CreateApiKeyRequest): Promise<CreatedApiKey>;
  list(): Promise<readonly ApiKeyView[]>;
  revoke(id: string): Promise<ApiKeyView>;
  rotate(id: string, overlap: string | undefined): Promise<CreatedApiKey>;
  close(): Promise<void>;
}

/**
 * The ledger itself when `--data` or `--database-url` was given, else the server. What the environment says of a
 * database counts only when nothing says which server is meant.
 */
export async function openKeys(settings: Settings, signal: AbortSignal): Promise<Keys> {
  return isOffline(settings) ? await openOffline(settings) : await openOnline(settings, signal);
}

function isOffline(settings: Settings): boolean {
  const given = (flags: readonly string[]) => flags.filter((flag) => settings.isGiven(flag));
  const places = given(['data', 'database-url']);
  if (places.some((flag) => settings.sourceOf(flag) === 'flag')) return true;
  return places.length > 0 && given(['base-url', 'api-key']).length === 0;
}

async function openOnline(settings: Settings, signal: AbortSignal): Promise<Keys> {
  const { keys } = await connect(settings);
  return {
    create: async ({ name, project_id: projectId, scopes, expires_in: expiresIn }) =>
      wire<CreatedApiKey>(
        await keys.create({
          signal,
          ...(name === undefined ? {} : { name }),
          ...(projectId === undefined ? {} : { projectId }),
          ...(scopes === undefined ? {} : { scopes }),
          ...(expiresIn === undefined ? {} : { expiresIn }),
        }),
      ),
    list: async () => wire<ApiKeyView[]>(await keys.list({ signal })),
    revoke: async (id) => wire<ApiKeyView>(await keys.revoke(id, { signal })),
    rotate: async (id, overlap) =>
      wire<CreatedApiKey>(await keys.rotate(id, { signal, ...(overlap === undefined ? {} : { overlap }) })),
    close: async () => {},
  };
}

/** As it would have come over the wire: times as text. */
const wire = <Value>(value: unknown): Value => JSON.parse(JSON.stringify(toWireJson(value)));

/** A random key for a file of keys, and its row. @throws CliError for scopes that need a project */
export async function newRow(request: CreateApiKeyRequest): Promise<NewFileKey> {
  const { newFileKey, DomainError } = await import('@batch-infer/control-plane');
  try {
    return newFileKey(request);
  } catch (error) {
    if (error instanceof DomainError) throw new CliError(EXIT.usage, error.message);
    throw error;
  }
}

async function openOffline(settings: Settings): Promise<Keys> {
  const { openApiKeys, DomainError } = await import('@batch-infer/control-plane');
  const databaseUrl = settings.text('database-url');
  const keys = await openApiKeys({ dataDir: settings.text('data'), databaseUrl });
  const explain = async <Value>(work: Promise<Value>): Promise<Value> => {
    try {
      return await work;
    } catch (error) {
      if (error instanceof DomainError) throw new CliError(EXIT.usage, error.message);
      throw error;
    }
  };
  return {
    create: (request) => explain(keys.create(request)),
    list: () => explain(keys.list()),
    revoke: (id) => explain(keys.revoke(id)),
    rotate: (id, overlap) => explain(keys.rotate(id, overlap === undefined ? {} : { overlap })),
    close: () => keys.close(),
  };
}
