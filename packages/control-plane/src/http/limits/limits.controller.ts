import { LIMITS } from '@batch-infer/contracts';
import { type ProjectLimitsView, projectId, setProjectLimitsRequest } from '@batch-infer/contracts/access';
import { Body, Controller, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import type { ProjectLimits } from '../../ports/project-limits.js';
import { ProjectLimitsAdministration } from '../../rate-limits/project-limits-administration.js';
import { type Caller, CurrentCaller, projectLimitOf } from '../auth/project.js';
import { parseWith } from '../validation.js';

/** `/v1/limits` and `/v1/projects/{id}/limits`. */
@Controller('v1')
export class LimitsController {
  readonly #limits: ProjectLimitsAdministration;

  constructor(@Inject(ProjectLimitsAdministration) limits: ProjectLimitsAdministration) {
    this.#limits = limits;
  }

  /** What holds for everybody, and what holds for the project of the key that asks. */
  @Get('limits')
  async all(
    @CurrentCaller() caller: Caller,
  ): Promise<{ object: 'limits'; limits: typeof LIMITS; project: ProjectLimitsView }> {
    const own = await this.#limits.get(null, caller.projectId);
    return { object: 'limits', limits: LIMITS, project: toView(caller.projectId, own) };
  }

  @Get('projects/:id/limits')
  async get(@CurrentCaller() caller: Caller, @Param('id') id: string): Promise<ProjectLimitsView> {
    return toView(id, await this.#limits.get(projectLimitOf(caller), id));
  }

  @Post('projects/:id/limits')
  @HttpCode(200)
  async set(
    @CurrentCaller() caller: Caller,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<ProjectLimitsView> {
    const request = parseWith(setProjectLimitsRequest, body);
    const administered = projectLimitOf(caller);
    if (administered === null) parseWith(projectId, id);
    const change: Partial<ProjectLimits> = {
      ...(request.requests_per_minute === undefined
        ? {}
        : { requestsPerMinute: request.requests_per_minute }),
      ...(request.max_running_jobs === undefined ? {} : { maxRunningJobs: request.max_running_jobs }),
      ...(request.max_queued_tokens === undefined ? {} : { maxQueuedTokens: request.max_queued_tokens }),
    };
    return toView(id, await this.#limits.set(administered, id, change));
  }
}

const toView = (id: string, limits: ProjectLimits): ProjectLimitsView => ({
  object: 'project_limits',
  project_id: id,
  requests_per_minute: limits.requestsPerMinute,
  max_running_jobs: limits.maxRunningJobs,
  max_queued_tokens: limits.maxQueuedTokens,
});
