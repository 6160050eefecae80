import { z } from 'zod';
import { LIMITS, parseDurationMs } from './limits.js';

/** Wire formats of projects and API keys: `/v1/projects`, `/v1/keys`, `/v1/whoami`. */

/** What a key may do. `admin` includes the others. */
export const API_KEY_SCOPES = ['read', 'write', 'runner', 'admin'] as const;
export const apiKeyScope = z.enum(API_KEY_SCOPES);
export type ApiKeyScope = z.infer<typeof apiKeyScope>;

/** In the place of a project: a key of no project, for runners of all projects and for administrators of the server. */
export const ALL_PROJECTS = '*';

/** A project's id is chosen by who makes it; it is part of object keys, so that its letters are limited. */
export const projectId = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must have 1 to 64 letters, digits, "_" or "-"');

const durationUpTo = (maximumMs: number, rule: string) =>
  z
    .string()
    .max(LIMITS.durationChars)
    .refine((text) => {
      const durationMs = parseDurationMs(text);
      return durationMs !== null && durationMs <= maximumMs;
    }, `must be a duration ${rule}`);

const name = z.string().min(1).max(LIMITS.accessNameChars);

const projectSettings = z.strictObject({
  name: name.optional(),
  /** Share of the runners beside other projects that have work waiting; 1 without it. */
  weight: z.number().min(LIMITS.projectWeightMin).max(LIMITS.projectWeightMax).optional(),
  /** Items offered or held by runners at a time; `null`: no cap. */
  max_running_items: z.int().min(1).max(1_000_000_000).nullable().optional(),
});

/** `POST /v1/projects/{id}`. */
export const updateProjectRequest = projectSettings;
export type UpdateProjectRequest = z.infer<typeof updateProjectRequest>;

/** `POST /v1/projects`. */
export const createProjectRequest = projectSettings.extend({ id: projectId });

export const projectView = z.object({
  id: z.string(),
  object: z.literal('project'),
  name: z.string(),
  weight: z.number(),
  max_running_items: z.int().nullable(),
  created_at: z.string(),
});
export type ProjectView = z.infer<typeof projectView>;

const limit = (maximum: number) => z.int().min(1).max(maximum).nullable();

/** `POST /v1/projects/{id}/limits`. What is left out stays as it is; `null`: no limit. */
export const setProjectLimitsRequest = z.strictObject({
  /** Requests to the API, by a token bucket that holds a minute's worth. */
  requests_per_minute: limit(10_000_000).optional(),
  /** Jobs of more than one item that run at a time; others wait for their turn. */
  max_running_jobs: limit(1_000_000).optional(),
  /** Tokens (estimated) of the jobs that run at a time; others wait, but one may always run. */
  max_queued_tokens: limit(Number.MAX_SAFE_INTEGER).optional(),
});
export type SetProjectLimitsRequest = z.infer<typeof setProjectLimitsRequest>;

export const projectLimitsView = z.object({
  object: z.literal('project_limits'),
  project_id: z.string(),
  requests_per_minute: z.int().nullable(),
  max_running_jobs: z.int().nullable(),
  max_queued_tokens: z.int().nullable(),
});
export type ProjectLimitsView = z.infer<typeof projectLimitsView>;

/** What a project uses of its limits now; part of `GET /v1/limits`. */
export const projectUseView = z.object({
  /** Requests that are not yet made up for by the minute that passes; `null` without a limit. */
  requests: z.int().nullable(),
  /** Jobs of more than one item that run or may run; those that wait for their turn are not among them. */
  running_jobs: z.int(),
  /** Tokens (estimated) of what has not ended of these jobs. */
  queued_tokens: z.int(),
});
export type ProjectUseView = z.infer<typeof projectUseView>;

/** `POST /v1/keys`. */
export const createApiKeyRequest = z.strictObject({
  name: name.optional(),
  /** Without it the caller's own. `"*"` with the scopes `runner` and `admin` only. */
  project_id: z.union([z.literal(ALL_PROJECTS), projectId]).optional(),
  scopes: z.array(apiKeyScope).min(1).max(API_KEY_SCOPES.length).optional(),
  /** How long the key works, such as `"90d"`; without it, until it is revoked. */
  expires_in: durationUpTo(LIMITS.apiKeyLifeMaxMs, 'of at most "3650d", such as "90d"').optional(),
});
export type CreateApiKeyRequest = z.infer<typeof createApiKeyRequest>;

/** `POST /v1/keys/{id}/rotate`. */
export const rotateApiKeyRequest = z.strictObject({
  /** How long the old key goes on beside the new one. */
  overlap: durationUpTo(LIMITS.apiKeyOverlapMaxMs, 'of at most "30d", such as "24h"').optional(),
});
export type RotateApiKeyRequest = z.infer<typeof rotateApiKeyRequest>;

export const apiKeyView = z.object({
  id: z.string(),
  object: z.literal('api_key'),
  name: z.string(),
  project_id: z.string(),
  scopes: z.array(apiKeyScope),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  /** Within a minute. */
  last_used_at: z.string().nullable(),
  /** Id of the key that takes its place. */
  rotated_to: z.string().nullable(),
});
export type ApiKeyView = z.infer<typeof apiKeyView>;

/** The answer to a create or a rotation: the only time that the key itself is shown. */
export const createdApiKey = apiKeyView.extend({ key: z.string() });
export type CreatedApiKey = z.infer<typeof createdApiKey>;

/** `GET /v1/whoami`. */
export const callerView = z.object({
  object: z.literal('caller'),
  project_id: z.string(),
  /** `null` on a server without keys. */
  key_id: z.string().nullable(),
  scopes: z.array(apiKeyScope),
});
export type CallerView = z.infer<typeof callerView>;
