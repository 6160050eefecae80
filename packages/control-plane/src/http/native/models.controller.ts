import type { AnthropicModel } from '@batch-infer/contracts/anthropic';
import { Controller, Get, Inject, Param, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { Fleet } from '../../jobs/fleet.js';
import { type Caller, CurrentCaller, projectLimitOf } from '../auth/project.js';
import { dialectOf } from '../dialect.js';

/** A model as OpenAI's SDKs read it. */
interface ModelView {
  readonly id: string;
  readonly object: 'model';
  /** Unix seconds; always 0, as nobody knows when a model was made. */
  readonly created: 0;
  readonly owned_by: 'batch-infer';
}

/** Anthropic's list; all of it is one page. */
interface AnthropicModelList {
  readonly data: readonly AnthropicModel[];
  readonly has_more: false;
  readonly first_id: string | null;
  readonly last_id: string | null;
}

/** `/v1/models`: what the live runners serve, in the words of whoever asks. */
@Controller('v1/models')
export class ModelsController {
  readonly #fleet: Fleet;

  constructor(@Inject(Fleet) fleet: Fleet) {
    this.#fleet = fleet;
  }

  @Get()
  async list(
    @CurrentCaller() caller: Caller,
    @Req() request: FastifyRequest,
  ): Promise<{ object: 'list'; data: ModelView[] } | AnthropicModelList> {
    const models = await this.#fleet.models(projectLimitOf(caller));
    if (dialectOf(request) === 'anthropic') {
      const data = models.map(toAnthropicModel);
      return { data, has_more: false, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
    }
    return { object: 'list', data: models.map(toModelView) };
  }

  /** Model names may hold slashes. */
  @Get('*')
  async get(
    @CurrentCaller() caller: Caller,
    @Param('*') id: string,
    @Req() request: FastifyRequest,
  ): Promise<ModelView | AnthropicModel> {
    const models = await this.#fleet.models(projectLimitOf(caller));
    const model = models.find((candidate) => candidate.id === id);
    if (model !== undefined)
      return dialectOf(request) === 'anthropic' ? toAnthropicModel(model) : toModelView(model);
    const served =
      models.length === 0
        ? 'No runner is connected.'
        : `Served now: ${models.map((candidate) => candidate.id).join(', ')}.`;
    throw new DomainError('not_found', `No live runner serves this model. ${served}`, { param: 'model' });
  }
}

/** What Anthropic's API says where the time is not known. */
const UNKNOWN_TIME = new Date(0).toISOString();

const toModelView = ({ id }: { id: string }): ModelView => ({
  id,
  object: 'model',
  created: 0,
  owned_by: 'batch-infer',
});

const toAnthropicModel = ({ id }: { id: string }): AnthropicModel => ({
  id,
  type: 'model',
  display_name: id,
  created_at: UNKNOWN_TIME,
  lifecycle: 'active',
  capabilities: null,
  deprecated_at: null,
  line: null,
  max_input_tokens: null,
  max_tokens: null,
  retires_at: null,
});
