import {
  ALL_PROJECTS,
  type ApiKeyView,
  type CallerView,
  type CreatedApiKey,
  createApiKeyRequest,
  rotateApiKeyRequest,
} from '@batch-infer/contracts/access';
import { Body, Controller, Delete, Get, Header, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { KeyAdministration } from '../../access/key-administration.js';
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
    const request = parseWith(createApiKeyRequest, body);
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
