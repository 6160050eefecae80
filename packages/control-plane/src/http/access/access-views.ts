import type { ApiKeyView, CreatedApiKey, ProjectView } from '@batch-infer/contracts/access';
import type { MadeApiKey } from '../../access/key-administration.js';
import type { ApiKeyRecord, ProjectRecord } from '../../ports/access.js';

const time = (atMs: number): string => new Date(atMs).toISOString();
const timeOrNull = (atMs: number | null): string | null => (atMs === null ? null : time(atMs));

/** Never with the hash. */
export const toApiKeyView = (key: ApiKeyRecord): ApiKeyView => ({
  id: key.id,
  object: 'api_key',
  name: key.name,
  project_id: key.projectId,
  scopes: [...key.scopes],
  created_at: time(key.createdAtMs),
  expires_at: timeOrNull(key.expiresAtMs),
  revoked_at: timeOrNull(key.revokedAtMs),
  last_used_at: timeOrNull(key.lastUsedAtMs),
  rotated_to: key.rotatedTo,
});

export const toCreatedApiKey = ({ record, key }: MadeApiKey): CreatedApiKey => ({
  ...toApiKeyView(record),
  key,
});

export const toProjectView = (project: ProjectRecord): ProjectView => ({
  id: project.id,
  object: 'project',
  name: project.name,
  weight: project.weight,
  max_running_items: project.maxRunningItems,
  created_at: time(project.createdAtMs),
});
