import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { DomainError } from '../../errors.js';

/** The project of a control plane that has no API keys. */
export const DEFAULT_PROJECT_ID = 'default';

/** Who sends a request, as the guard found it by its API key. */
export interface Caller {
  readonly projectId: string;
  /** Public id of the key; `null` when the control plane has no keys. */
  readonly keyId: string | null;
  /** What the key may do; empty: everything. */
  readonly scopes: readonly string[];
}

/** What `ApiKeyGuard` adds to a request. */
export interface AuthenticatedRequest {
  caller?: Caller;
}

/**
 * The caller's project: `create(@ProjectId() projectId: string)`. Every query and every object key carries it.
 * @throws DomainError `missing_api_key` on a route that no guard has seen.
 */
export const ProjectId = createParamDecorator((_: unknown, context: ExecutionContext): string => {
  const { caller } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (!caller) throw new DomainError('missing_api_key', 'The request carries no API key.');
  return caller.projectId;
});
