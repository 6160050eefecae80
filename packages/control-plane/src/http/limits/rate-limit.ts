import { setTimeout as delay } from 'node:timers/promises';
import { ENDPOINTS, LIMITS } from '@batch-infer/contracts';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { DomainError } from '../../errors.js';
import type { TokenState } from '../../rate-limits/queued-tokens.js';
import type { RequestLimits, Standing } from '../../rate-limits/request-limits.js';
import type { BucketState } from '../../rate-limits/token-bucket.js';
import type { AuthenticatedRequest } from '../auth/project.js';
import { routeScopeOf } from '../auth/route-scopes.js';
import { clientSignal } from '../request-context.js';

/** Plain requests wait for their turn instead of being refused. */
const QUEUED: ReadonlySet<string> = new Set(ENDPOINTS);
/** Uploads are never refused for their number: official SDKs do not send a streamed body twice. */
const NEVER_REFUSED: ReadonlySet<string> = new Set(['/v1/files', '/v1/uploads/:id/parts']);

/** What `registerRateLimits` adds to a request. */
interface LimitedRequest {
  standing?: Standing;
}

/** Requests of its minute that the caller's project has made; `null` without a limit: `get(@UsedRequests() used)`. */
export const UsedRequests = createParamDecorator((_: unknown, context: ExecutionContext): number | null => {
  const requests = context.switchToHttp().getRequest<LimitedRequest>().standing?.requests;
  return requests ? requests.limit - requests.remaining : null;
});

/**
 * Holds projects to their number of requests. Runners are not counted, nor what needs no key. Every answer of a limited
 * project says where it stands, in the words of the IETF draft and of OpenAI.
 */
export function registerRateLimits(fastify: FastifyInstance, limits: RequestLimits): void {
  fastify.addHook('onRequest', async (request, reply) => {
    const { url } = request.routeOptions;
    const { caller } = request as AuthenticatedRequest;
    if (url === undefined || caller === undefined) return;
    const scope = routeScopeOf(request.method, url);
    if (scope === 'runner' || scope === 'public') return;
    const waits = QUEUED.has(url);
    const overdraw = waits || (request.method === 'POST' && NEVER_REFUSED.has(url));
    const standing = await limits.take(caller.projectId, { overdraw });
    (request as LimitedRequest).standing = standing;
    if (standing.tokens !== null) tellTokens(reply, standing.tokens);
    const state = standing.requests;
    if (state === null) return;
    tell(reply, state);
    if (state.waitMs === 0) return;
    if (waits && state.waitMs <= LIMITS.retryAfterMaxSeconds * 1_000) await turn(state.waitMs, reply);
    else if (waits || !overdraw) throw refusal(reply, state);
  });
}

/** Waits for the request's turn, as long as somebody waits for its answer. @throws ClientGoneError */
async function turn(waitMs: number, reply: FastifyReply): Promise<void> {
  const signal = clientSignal(reply);
  await delay(waitMs, undefined, { signal }).catch(() => undefined);
  signal.throwIfAborted();
}

function tell(reply: FastifyReply, { limit, remaining, resetMs }: BucketState): void {
  const resetSeconds = Math.ceil(resetMs / 1_000);
  reply
    .header('ratelimit-policy', `"requests";q=${limit};w=60`)
    .header('ratelimit', `"requests";r=${remaining};t=${resetSeconds}`)
    .header('x-ratelimit-limit-requests', String(limit))
    .header('x-ratelimit-remaining-requests', String(remaining))
    .header('x-ratelimit-reset-requests', `${resetSeconds}s`);
}

/** Only OpenAI's words: the IETF draft has no unit for tokens. Clients read the time as a duration of Go's. */
function tellTokens(reply: FastifyReply, { limit, remaining, resetMs }: TokenState): void {
  reply
    .header('x-ratelimit-limit-tokens', String(limit))
    .header('x-ratelimit-remaining-tokens', String(remaining));
  if (resetMs !== null) reply.header('x-ratelimit-reset-tokens', `${Math.ceil(resetMs / 1_000)}s`);
}

/** Never a hint of more than a minute: SDKs do not obey it. */
function refusal(reply: FastifyReply, { limit, waitMs }: BucketState): DomainError {
  reply.header('retry-after-ms', String(Math.min(waitMs, LIMITS.retryAfterMaxSeconds * 1_000)));
  return new DomainError(
    'rate_limited',
    `The project may make ${limit} requests a minute. Work is not limited by it: hand over many items as one job.`,
    { retryAfterSeconds: waitMs / 1_000 },
  );
}
