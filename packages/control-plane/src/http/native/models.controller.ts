import { Controller, Get, Inject, Param } from '@nestjs/common';
import { DomainError } from '../../errors.js';
import { Fleet } from '../../jobs/fleet.js';

/** A model as OpenAI's SDKs read it. */
interface ModelView {
  readonly id: string;
  readonly object: 'model';
  /** Unix seconds; when a runner that serves it was last heard of. */
  readonly created: number;
  readonly owned_by: 'batch-infer';
}

/** `/v1/models`: what the live runners serve. */
@Controller('v1/models')
export class ModelsController {
  readonly #fleet: Fleet;

  constructor(@Inject(Fleet) fleet: Fleet) {
    this.#fleet = fleet;
  }

  @Get()
  async list(): Promise<{ object: 'list'; data: ModelView[] }> {
    const models = await this.#fleet.models();
    return { object: 'list', data: models.map(toModelView) };
  }

  /** Model names may hold slashes. */
  @Get('*')
  async get(@Param('*') id: string): Promise<ModelView> {
    const models = await this.#fleet.models();
    const model = models.find((candidate) => candidate.id === id);
    if (model !== undefined) return toModelView(model);
    const served =
      models.length === 0
        ? 'No runner is connected.'
        : `Served now: ${models.map((candidate) => candidate.id).join(', ')}.`;
    throw new DomainError('not_found', `No live runner serves this model. ${served}`, { param: 'model' });
  }
}

const toModelView = ({ id, seenAtMs }: { id: string; seenAtMs: number }): ModelView => ({
  id,
  object: 'model',
  created: Math.floor(seenAtMs / 1_000),
  owned_by: 'batch-infer',
});
