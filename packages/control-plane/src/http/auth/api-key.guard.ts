import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { API_KEYS } from '../../tokens.js';
import type { ApiKeyScope, ApiKeys } from './api-keys.js';
import { type AuthenticatedRequest, DEFAULT_PROJECT_ID } from './project.js';
import { PUBLIC_ROUTE } from './public.js';

/**
 * Says whose request it is, for every route that is not `@Public()`. Without configured keys everybody who reaches the
 * loopback address is the project `default`. Keys come as `Authorization: Bearer` or `x-api-key`.
 */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  readonly #keys: ApiKeys | null;
  readonly #reflector: Reflector;

  constructor(@Inject(API_KEYS) keys: ApiKeys | null, @Inject(Reflector) reflector: Reflector) {
    this.#keys = keys;
    this.#reflector = reflector;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const targets = [context.getHandler(), context.getClass()];
    if (this.#reflector.getAllAndOverride<boolean | undefined>(PUBLIC_ROUTE, targets) === true) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest & AuthenticatedRequest>();
    if (!this.#keys) {
      request.caller = { projectId: DEFAULT_PROJECT_ID, keyId: null, scopes: [] };
      return true;
    }
    const presented = presentedKey(request.headers);
    if (presented === null) {
      throw new DomainError(
        'missing_api_key',
        'This server needs an API key: send it as "Authorization: Bearer KEY" or "x-api-key: KEY".',
      );
    }
    const key = await this.#keys.find(presented);
    if (!key) throw new DomainError('invalid_api_key', 'The API key is unknown or has expired.');
    const needed = scopeOf(request.method, request.url);
    if (key.scopes.length > 0 && !key.scopes.includes(needed) && !key.scopes.includes('admin')) {
      throw new DomainError('insufficient_scope', `The API key lacks the scope "${needed}".`);
    }
    request.caller = { projectId: key.projectId, keyId: key.id, scopes: key.scopes };
    return true;
  }
}

function presentedKey(headers: FastifyRequest['headers']): string | null {
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1];
  const plain = headers['x-api-key'];
  return bearer ?? (typeof plain === 'string' && plain !== '' ? plain : null);
}

function scopeOf(method: string, url: string): ApiKeyScope {
  if (/^\/v1\/runner\//.test(url)) return 'runner';
  return method === 'GET' || method === 'HEAD' ? 'read' : 'write';
}
