import {
  ALL_PROJECTS,
  type ApiKeyView,
  type CallerView,
  type CreateApiKeyRequest,
  type CreatedApiKey,
  createApiKeyRequest,
  rotateApiKeyRequest,
} from '@batch-infer/contracts/access';
import { Body, Controller, Delete, Get, Header, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { KeyAdministration } from '../../access/key-administration.js';
import { DomainError } from '../../errors.js';
import { type Caller, CurrentCaller, projectLimitOf, scopesOf } from '../auth/project.js';
import { parseWith } from '../validation.js';
import { toApiKeyView, toCreatedApiKey } from './access-views.js';

/** `/v1/keys` and `/v1/whoami`. */
@Controller('v1')
export class KeysController {
  readonly #keys: KeyAdministration;

  constructor(@Inject(KeyAdministration) keys: KeyAdministration) {
    this.#keys = keys;
  }

  @Post('keys')
  @HttpCode(201)
  @Header('cache-control', 'no-store')
  async create(@CurrentCaller() caller: Caller, @Body() body: unknown): Promise<CreatedApiKey> {
    const request = newKeyOf(caller, body);
    const projectId = projectLimitOf(caller);
    const made = await this.#keys.create({ projectId, defaultProjectId: caller.projectId, request });
    return toCreatedApiKey(made);
  }

  @Get('keys')
  async list(@CurrentCaller() caller: Caller): Promise<{ object: 'list'; data: ApiKeyView[] }> {
    return { object: 'list', data: (await this.#keys.list(projectLimitOf(caller))).map(toApiKeyView) };
  }

  @Delete('keys/:id')
  async revoke(@CurrentCaller() caller: Caller, @Param('id') id: string): Promise<ApiKeyView> {
    return toApiKeyView(await this.#keys.revoke(projectLimitOf(caller), id));
  }

  @Post('keys/:id/rotate')
  @HttpCode(201)
  @Header('cache-control', 'no-store')
  async rotate(
    @CurrentCaller() caller: Caller,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<CreatedApiKey> {
    const request = parseWith(rotateApiKeyRequest, body);
    return toCreatedApiKey(await this.#keys.rotate(projectLimitOf(caller), id, request));
  }

  @Get('whoami')
  whoami(@CurrentCaller() caller: Caller): CallerView {
    return {
      object: 'caller',
      project_id: caller.projectId,
      key_id: caller.keyId,
      // A key of all projects has no use for scopes that need one.
      scopes: scopesOf(caller).filter(
        (scope) => caller.projectId !== ALL_PROJECTS || scope === 'runner' || scope === 'admin',
      ),
    };
  }
}

/**
 * @throws DomainError `invalid_request` without a JSON body: a key is made only by who says so
 * @throws DomainError `invalid_parameter` for a first key that could make no other, which would lock its owner out
 */
function newKeyOf(caller: Caller, body: unknown): CreateApiKeyRequest {
  if (body === undefined) {
    throw new DomainError(
      'invalid_request',
      'A new key needs a JSON body that says what it is for, such as {"name":"ci","scopes":["read","write"]}.',
    );
  }
  const request = parseWith(createApiKeyRequest, body);
  if (caller.keyId === null && !request.scopes?.includes('admin')) {
    throw new DomainError(
      'invalid_parameter',
      'The first key of a server must have the scope "admin": from then on every request needs a key, and only an administrator makes more. Send "scopes": ["admin"] (batch-infer keys create --scopes admin), then make the others with that key.',
      { param: 'scopes' },
    );
  }
  return request;
}
