import { ALL_PROJECTS, API_KEY_SCOPES, type ApiKeyScope } from '@batch-infer/contracts/access';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { DomainError } from '../../errors.js';
import type { RunnerIdentity } from '../../ports/runners.js';

/** The project of a control plane that has no API keys. */
export const DEFAULT_PROJECT_ID = 'default';

/** Who sends a request, as `authenticate` found it by its API key. */
export interface Caller {
  /** `*` for keys of no project. */
  readonly projectId: string;
  /** Public id of the key; `null` when the control plane has no keys. */
  readonly keyId: string | null;
  /** What the key may do; empty: everything. */
  readonly scopes: readonly ApiKeyScope[];
}

/** What `authenticate` adds to a request. */
export interface AuthenticatedRequest {
  caller?: Caller;
  /** Whether its key still allows what it asked for: for requests that stay open. Throws when that cannot be told now. */
  isStillAllowed?: () => Promise<boolean>;
}

/** Whoever reaches a control plane without keys: the owner of the machine. */
export const OWNER: Caller = { projectId: DEFAULT_PROJECT_ID, keyId: null, scopes: [] };

export const isAllowed = ({ scopes }: Caller, scope: ApiKeyScope): boolean =>
  scopes.length === 0 || scopes.includes(scope) || scopes.includes('admin');

/** All scopes of a caller by name. */
export const scopesOf = (caller: Caller): ApiKeyScope[] =>
  API_KEY_SCOPES.filter((scope) => isAllowed(caller, scope));

/** The one project that a runner or an administrator is limited to; `null`: none. */
export const projectLimitOf = (caller: Caller): string | null =>
  caller.keyId === null || caller.projectId === ALL_PROJECTS ? null : caller.projectId;

/** Whose runner sends a request. */
export const runnerIdentityOf = (caller: Caller): RunnerIdentity => ({
  keyId: caller.keyId,
  projectId: projectLimitOf(caller),
});

/** The caller: `list(@CurrentCaller() caller: Caller)`. @throws DomainError `missing_api_key` without one */
export const CurrentCaller = createParamDecorator((_: unknown, context: ExecutionContext): Caller => {
  const { caller } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!caller) throw new DomainError('missing_api_key', 'The request carries no API key.');
  return caller;
});

/**
 * The caller's project: `create(@ProjectId() projectId: string)`. Every query and every object key carries it.
 * @throws DomainError `missing_api_key` without a caller, `insufficient_scope` for a key of no project
 */
export const ProjectId = createParamDecorator((_: unknown, context: ExecutionContext): string => {
  const { caller } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!caller) throw new DomainError('missing_api_key', 'The request carries no API key.');
  if (caller.projectId !== ALL_PROJECTS) return caller.projectId;
  throw new DomainError(
    'insufficient_scope',
    'This API key belongs to no project. Jobs and files need a key of their project.',
  );
});
