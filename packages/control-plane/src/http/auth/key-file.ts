import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { ALL_PROJECTS, type ApiKeyScope, apiKeyScope, projectId } from '@batch-infer/contracts/access';
import { z } from 'zod';
import type { Clock } from '../../ports/clock.js';

const apiKey = z.object({
  id: z.string().min(1),
  /** SHA-256 of the whole key, in hex; the key itself is stored nowhere. */
  hash: z.string().regex(/^[0-9a-fA-F]{64}$/, 'must be the SHA-256 of the key, in hex'),
  /** `"*"` for runners and administrators of all projects. */
  project: z.union([z.literal(ALL_PROJECTS), projectId], {
    error: 'must be "*", or have 1 to 64 letters, digits, "_" or "-"',
  }),
  /** What the key may do; empty: everything. */
  scopes: z.array(apiKeyScope).default([]),
  expires_at: z.iso.datetime({ offset: true }).nullish(),
});

export interface FileApiKey {
  readonly id: string;
  readonly hash: Buffer;
  readonly projectId: string;
  readonly scopes: readonly ApiKeyScope[];
  readonly expiresAtMs: number | null;
}

/** The file of keys cannot be used; the message says why and never shows a hash. */
export class ApiKeysFileError extends Error {
  override readonly name = 'ApiKeysFileError';
}

/** How long a change of the file may go unseen. */
const RECHECK_MS = 1_000;

/** The keys of a file, read again when the file changes: keys are added and revoked while the server runs. */
export class ApiKeyFile {
  readonly #path: string;
  readonly #clock: Clock;
  #keys: readonly FileApiKey[];
  #version: string;
  #checkedAtMs: number;

  private constructor(params: { path: string; clock: Clock; keys: readonly FileApiKey[]; version: string }) {
    this.#path = params.path;
    this.#clock = params.clock;
    this.#keys = params.keys;
    this.#version = params.version;
    this.#checkedAtMs = params.clock.nowMs();
  }

  /** @throws ApiKeysFileError */
  static async open(params: { path: string; clock: Clock }): Promise<ApiKeyFile> {
    const version = await versionOf(params.path);
    return new ApiKeyFile({ ...params, keys: await readKeys(params.path), version });
  }

  /** The key's row; `null` for unknown and expired keys alike. Every row is compared, in constant time. */
  async find(presented: string): Promise<FileApiKey | null> {
    await this.#reload();
    const hash = createHash('sha256').update(presented).digest();
    let found: FileApiKey | null = null;
    for (const key of this.#keys) if (timingSafeEqual(key.hash, hash)) found = key;
    const expired = found?.expiresAtMs != null && found.expiresAtMs <= this.#clock.nowMs();
    return expired ? null : found;
  }

  async #reload(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#checkedAtMs < RECHECK_MS) return;
    this.#checkedAtMs = nowMs;
    try {
      const version = await versionOf(this.#path);
      if (version === this.#version) return;
      this.#keys = await readKeys(this.#path);
      this.#version = version;
    } catch {
      // A file that is being written, or broken: the keys that were good stay good until it can be read again.
    }
  }
}

async function versionOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs}-${size}-${ino}`;
  } catch (cause) {
    throw new ApiKeysFileError(`The file of API keys ${path} cannot be read.`, { cause });
  }
}

async function readKeys(path: string): Promise<FileApiKey[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ApiKeysFileError(`The file of API keys ${path} cannot be read.`, { cause });
  });
  const keys = parseRows(text, path).map((row, index): FileApiKey => {
    const parsed = apiKey.safeParse(row);
    if (!parsed.success) {
      const fault = parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ');
      throw new ApiKeysFileError(`Key ${index + 1} of ${path} is not valid: ${fault}.`);
    }
    return {
      id: parsed.data.id,
      hash: Buffer.from(parsed.data.hash, 'hex'),
      projectId: parsed.data.project,
      scopes: parsed.data.scopes,
      expiresAtMs: parsed.data.expires_at ? Date.parse(parsed.data.expires_at) : null,
    };
  });
  if (keys.length === 0) throw new ApiKeysFileError(`The file of API keys ${path} has no keys.`);
  return keys;
}

/** A JSON array, or one JSON object a line. */
function parseRows(text: string, path: string): unknown[] {
  try {
    if (text.trimStart().startsWith('[')) {
      const rows: unknown = JSON.parse(text);
      return Array.isArray(rows) ? rows : [];
    }
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line): unknown => JSON.parse(line));
  } catch {
    // The parser's own message would quote the file.
    throw new ApiKeysFileError(`The file of API keys ${path} is neither a JSON array nor JSON lines.`);
  }
}
