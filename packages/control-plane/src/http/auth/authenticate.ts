import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { KeyRing } from '../../access/key-ring.js';
import type { ControlPlaneConfig } from '../../config.js';
import { DomainError } from '../../errors.js';
import type { ApiKeyFile } from './key-file.js';
import { type AuthenticatedRequest, type Caller, isAllowed, OWNER, projectLimitOf } from './project.js';
import { routeScopeOf } from './route-scopes.js';

const METRICS = '/metrics';

/**
 * Says whose request it is and whether the key may do it, before any byte of a body is read. Without any keys everybody
 * who reaches the loopback address is the owner. Keys come as `Authorization: Bearer` or `x-api-key`.
 */
export function registerAuthentication(
  fastify: FastifyInstance,
  keys: Keys,
  metricsAccess: ControlPlaneConfig['metricsAccess'],
  onRefused: (reason: 'auth' | 'scope') => void = () => undefined,
): void {
  fastify.addHook('onRequest', async (request) => {
    const { url } = request.routeOptions;
    // No route, no answer but 404.
    if (url === undefined) return;
    const scope = routeScopeOf(request.method, url);
    // Fails closed: a route that nobody has judged is nobody's.
    if (scope === undefined) throw new Error(`the route ${request.method} ${url} is not in the route table`);
    const isGuarded = url === METRICS && metricsAccess === 'key';
    if (scope === 'public' && !isGuarded) return;
    const caller = await callerOf(request, keys).catch((error: unknown) => {
      if (isKeyRefusal(error)) onRefused('auth');
      throw error;
    });
    const isEnough = (who: Caller) =>
      isGuarded
        ? projectLimitOf(who) === null
        : scope === 'any' || scope === 'public' || isAllowed(who, scope);
    if (!isEnough(caller)) {
      onRefused('scope');
      const lack = isGuarded ? 'belongs to a project: metrics tell of all' : `lacks the scope "${scope}"`;
      throw new DomainError('insufficient_scope', `The API key ${lack}.`);
    }
    const authenticated = request as AuthenticatedRequest;
    authenticated.caller = caller;
    authenticated.isStillAllowed = async () => {
      try {
        return isEnough(await callerOf(request, keys));
      } catch (error) {
        if (isKeyRefusal(error)) return false;
        throw error;
      }
    };
  });
}

/** Where keys are looked up. */
export interface Keys {
  readonly ring: KeyRing;
  readonly file: ApiKeyFile | null;
}

/** Whether the server asks nobody for a key: there are none, and no file that could have some. */
export const isOpen = async ({ ring, file }: Keys): Promise<boolean> =>
  file === null && !(await ring.hasKeys());

const isKeyRefusal = (error: unknown): boolean =>
  error instanceof DomainError && (error.code === 'invalid_api_key' || error.code === 'missing_api_key');

async function callerOf(request: FastifyRequest, { ring, file }: Keys): Promise<Caller> {
  if (await isOpen({ ring, file })) return OWNER;
  const presented = presentedKey(request);
  if (presented === null) {
    throw new DomainError(
      'missing_api_key',
      'This server needs an API key: send it as "Authorization: Bearer KEY" or "x-api-key: KEY".',
    );
  }
  const key = (await file?.find(presented)) ?? (await ring.find(presented));
  if (key) return { projectId: key.projectId, keyId: key.id, scopes: key.scopes };
  throw new DomainError('invalid_api_key', 'The API key is unknown, or it was revoked or has expired.');
}

/** @throws DomainError `invalid_request` for a key that comes twice: which one counts must not be a matter of luck. */
function presentedKey({ headers, raw }: FastifyRequest): string | null {
  for (const name of ['authorization', 'x-api-key']) {
    const times = raw.rawHeaders.filter((header, at) => at % 2 === 0 && header.toLowerCase() === name).length;
    if (times > 1) {
      throw new DomainError('invalid_request', `The header ${name} came ${times} times: send it once.`, {
        param: name,
      });
    }
  }
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1];
  const plain = headers['x-api-key'];
  return bearer ?? (typeof plain === 'string' && plain !== '' ? plain : null);
}
