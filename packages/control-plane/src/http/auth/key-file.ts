import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { ALL_PROJECTS, type ApiKeyScope, apiKeyScope, projectId } from '@batch-infer/contracts/access';
import { z } from 'zod';
import { FailureLog } from '../../loops/failure-log.js';
import type { Clock } from '../../ports/clock.js';
import { type Logger, silentLogger } from '../../telemetry/logger.js';

const apiKey = z
  .strictObject({
    id: z.string().min(1),
    /** What the key is for; only people read it. */
    name: z.string().optional(),
    /** SHA-256 of the whole key, in hex; the key itself is stored nowhere. */
    hash: z.string().regex(/^[0-9a-fA-F]{64}$/, 'must be the SHA-256 of the key, in hex'),
    /** `"*"` for runners and administrators of all projects. */
    project: z.union([z.literal(ALL_PROJECTS), projectId], {
      error: 'must be "*", or have 1 to 64 letters, digits, "_" or "-"',
    }),
    /** What the key may do; empty: everything in its project. */
    scopes: z.array(apiKeyScope).default([]),
    expires_at: z.iso.datetime({ offset: true }).nullish(),
  })
  .refine(({ project, scopes }) => project !== ALL_PROJECTS || scopes.length > 0, {
    path: ['scopes'],
    error: 'must say what a key of all projects ("*") may do: "runner", "admin" or both',
  });

/** A row of the file. */
export type ApiKeyRow = z.input<typeof apiKey>;

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
/** A file that cannot be used for a shorter time is being written. */
const WRITING_MS = 5_000;
/** From then on nobody knows whether a key was meant to be revoked: none works until the file can be read. */
const KEEP_MS = 60_000;

/**
 * The keys of a file, read again when the file changes: keys are added and revoked while the server runs. A file without
 * rows (`[]`) lets nobody in. While the file is broken or gone its last keys go on for a minute, then they are refused.
 */
export class ApiKeyFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #failures: FailureLog;
  #keys: readonly FileApiKey[];
  #version: string;
  #checkedAtMs: number;
  #brokenSinceMs: number | null = null;

  private constructor(params: {
    path: string;
    clock: Clock;
    logger: Logger;
    keys: readonly FileApiKey[];
    version: string;
  }) {
    this.#path = params.path;
    this.#clock = params.clock;
    this.#failures = new FailureLog({
      logger: params.logger,
      fields: { file: 'api keys' },
      nowMs: () => params.clock.nowMs(),
    });
    this.#keys = params.keys;
    this.#version = params.version;
    this.#checkedAtMs = params.clock.nowMs();
  }

  /** @throws ApiKeysFileError */
  static async open(params: { path: string; clock: Clock; logger?: Logger }): Promise<ApiKeyFile> {
    const version = await versionOf(params.path);
    const keys = await readKeys(params.path);
    return new ApiKeyFile({ logger: silentLogger(), ...params, keys, version });
  }

  /** The key's row; `null` for unknown and expired keys alike. Every row is compared, in constant time. */
  async find(presented: string): Promise<FileApiKey | null> {
    await this.check();
    if (this.#brokenForMs() >= KEEP_MS) return null;
    const hash = createHash('sha256').update(presented).digest();
    let found: FileApiKey | null = null;
    for (const key of this.#keys) if (timingSafeEqual(key.hash, hash)) found = key;
    const expired = found?.expiresAtMs != null && found.expiresAtMs <= this.#clock.nowMs();
    return expired ? null : found;
  }

  /** Reads the file again when it has changed, at most once a second. Never throws: a file that fails is told in the log. */
  async check(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    // A clock that was set back makes the last look old.
    if (nowMs >= this.#checkedAtMs && nowMs - this.#checkedAtMs < RECHECK_MS) return;
    this.#checkedAtMs = nowMs;
    try {
      const version = await versionOf(this.#path);
      if (version !== this.#version) {
        this.#keys = await readKeys(this.#path);
        this.#version = version;
      }
      this.#brokenSinceMs = null;
      this.#failures.worked();
    } catch (error) {
      this.#brokenSinceMs ??= nowMs;
      if (this.#brokenForMs() >= WRITING_MS) this.#failures.failed(error);
    }
  }

  /** For readiness: whether the file can be read, and what happens to its keys. */
  health(): { readonly state: 'up' | 'degraded'; readonly reason: string | null } {
    const brokenForMs = this.#brokenForMs();
    if (brokenForMs < WRITING_MS) return { state: 'up', reason: null };
    const keys = brokenForMs >= KEEP_MS ? 'its keys are refused' : 'its keys will be refused after a minute';
    return { state: 'degraded', reason: `the file of API keys cannot be read: ${keys}` };
  }

  #brokenForMs(): number {
    return this.#brokenSinceMs === null ? 0 : Math.max(0, this.#clock.nowMs() - this.#brokenSinceMs);
  }
}

async function versionOf(path: string): Promise<string> {
  try {
    const { mtimeMs, ctimeMs, size, ino } = await stat(path);
    return `${mtimeMs}-${ctimeMs}-${size}-${ino}`;
  } catch (cause) {
    throw new ApiKeysFileError(`The file of API keys ${path} cannot be read.`, { cause });
  }
}

async function readKeys(path: string): Promise<FileApiKey[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ApiKeysFileError(`The file of API keys ${path} cannot be read.`, { cause });
  });
  return parseRows(text, path).map((row, index): FileApiKey => {
    const parsed = apiKey.safeParse(row);
    if (!parsed.success) {
      const fault = parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ');
      throw new ApiKeysFileError(`Key ${index + 1} of ${path} is not valid: ${fault.trim()}.`);
    }
    return {
      id: parsed.data.id,
      hash: Buffer.from(parsed.data.hash, 'hex'),
      projectId: parsed.data.project,
      scopes: parsed.data.scopes,
      expiresAtMs: parsed.data.expires_at ? Date.parse(parsed.data.expires_at) : null,
    };
  });
}

/** A JSON array, or one JSON object a line. An empty file may be half of one: only `[]` means nobody. */
function parseRows(text: string, path: string): unknown[] {
  if (text.trim() === '') {
    throw new ApiKeysFileError(`The file of API keys ${path} is empty. Write [] to let nobody in.`);
  }
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
