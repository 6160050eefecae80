import { LIMITS } from '@batch-infer/contracts';
import type { FastifyInstance } from 'fastify';
import type { ControlPlaneConfig } from '../config.js';
import { isOpen, type Keys, registerAuthentication } from '../http/auth/authenticate.js';
import { registerBodyRules, type SlowBodyRule } from '../http/body-rules.js';
import { registerBrowserRules } from '../http/browsers/browser-rules.js';
import { registerContentParsers } from '../http/content-parsers.js';
import { answerClientError, answerFrameworkError } from '../http/framework-errors.js';
import { registerRateLimits } from '../http/limits/rate-limit.js';
import { registerRequestContext } from '../http/request-context.js';
import { registerRouteRules } from '../http/route-rules.js';
import type { RequestLimits } from '../rate-limits/request-limits.js';
import type { Logger } from '../telemetry/logger.js';

/** Time for a request's headers, from the first byte or the connection on. */
const HEADERS_MS = 20_000;

/**
 * Fastify as every process of ours runs it. Long polls and large uploads take their time: no limit on a whole request, but
 * one on its headers, and `registerBodyRules` watches that bodies move;
 * clients keep connections for a minute, longer than the proxies before us do.
 */
export const fastifyOptions = {
  bodyLimit: LIMITS.jsonBodyBytes,
  requestTimeout: 0,
  http: { headersTimeout: HEADERS_MS, connectionsCheckingInterval: 5_000 },
  connectionTimeout: 0,
  keepAliveTimeout: 65_000,
  forceCloseConnections: 'idle' as const,
  // A request that came in time is answered: while it stops, the server only asks for no more on this connection.
  return503OnClosing: false,
  logger: false as const,
  skipMiddie: true,
  frameworkErrors: answerFrameworkError,
  clientErrorHandler: answerClientError,
};

/** Hooks and parsers of the whole server. */
export async function prepareFastify(
  fastify: FastifyInstance,
  {
    config,
    logger,
    keys,
    limits,
    slowBodies,
    onRefused,
  }: {
    config: Pick<ControlPlaneConfig, 'host' | 'publicUrl' | 'corsOrigins' | 'metricsAccess'>;
    logger: Logger;
    keys: Keys;
    limits: RequestLimits;
    slowBodies?: SlowBodyRule;
    /** Told of each request that was refused for its API key, or as one of a web page that may not. */
    onRefused?: (reason: 'auth' | 'scope' | 'host' | 'origin') => void;
  },
): Promise<void> {
  registerRequestContext(fastify);
  registerBrowserRules(fastify, {
    config,
    isOpen: () => isOpen(keys),
    ...(onRefused === undefined ? {} : { onRefused }),
  });
  registerAuthentication(fastify, keys, config.metricsAccess, onRefused);
  registerRateLimits(fastify, limits);
  registerRouteRules(fastify);
  registerBodyRules(fastify, slowBodies);
  await registerContentParsers(fastify);
  if (!logger.isLevelEnabled('debug')) return;
  fastify.addHook('onResponse', async (request, reply) => {
    // The route's pattern, not the address: an address may hold what a client put into its query.
    logger.debug(
      {
        requestId: request.id,
        method: request.method,
        route: request.routeOptions.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'request',
    );
  });
}
