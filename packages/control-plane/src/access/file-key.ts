import { createHash } from 'node:crypto';
import { parseDurationMs } from '@batch-infer/contracts';
import type { CreateApiKeyRequest } from '@batch-infer/contracts/access';
import type { ApiKeyRow } from '../http/auth/key-file.js';
import { DEFAULT_PROJECT_ID } from '../http/auth/project.js';
import { scopesOfNewKey } from './key-administration.js';
import { newApiKey } from './key-format.js';

/** A key for a file of API keys: `row` goes into the file, `key` to whom it is for. */
export interface NewFileKey {
  readonly key: string;
  readonly row: ApiKeyRow;
}

/**
 * Makes a random key for a file of API keys (`--api-keys-file`). Nothing is stored: the key works once its row is in the
 * file. Project `default` and the scopes `read` and `write` unless the request says otherwise.
 *
 * @throws DomainError `invalid_parameter` for scopes that need a project
 */
export function newFileKey(request: CreateApiKeyRequest, nowMs = Date.now()): NewFileKey {
  const project = request.project_id ?? DEFAULT_PROJECT_ID;
  const scopes = scopesOfNewKey(project, request.scopes);
  const { id, key } = newApiKey(nowMs);
  const lifeMs = request.expires_in === undefined ? null : parseDurationMs(request.expires_in);
  return {
    key,
    row: {
      id,
      ...(request.name === undefined ? {} : { name: request.name }),
      hash: createHash('sha256').update(key).digest('hex'),
      project,
      scopes,
      ...(lifeMs === null ? {} : { expires_at: new Date(nowMs + lifeMs).toISOString() }),
    },
  };
}
