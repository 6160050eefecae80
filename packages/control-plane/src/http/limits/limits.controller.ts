import { LIMITS } from '@batch-infer/contracts';
import {
  type ProjectLimitsView,
  type ProjectUseView,
  projectId,
  setProjectLimitsRequest,
} from '@batch-infer/contracts/access';
import { Body, Controller, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import type { ProjectLimits } from '../../ports/project-limits.js';
import { ProjectLimitsAdministration } from '../../rate-limits/project-limits-administration.js';
import { type Caller, CurrentCaller, projectLimitOf } from '../auth/project.js';
import { parseWith } from '../validation.js';
import { UsedRequests } from './rate-limit.js';

/** `/v1/limits` and `/v1/projects/{id}/limits`. */
@Controller('v1')
export class LimitsController {
  readonly #limits: ProjectLimitsAdministration;

  constructor(@Inject(ProjectLimitsAdministration) limits: ProjectLimitsAdministration) {
    this.#limits = limits;
  }

  /** What holds for everybody, what holds for the project of the key that asks, and what it uses of that. */
  @Get('limits')
  async all(
    @CurrentCaller() caller: Caller,
    @UsedRequests() requests: number | null,
  ): Promise<{
    object: 'limits';
    limits: typeof LIMITS;
    project: ProjectLimitsView;
    used: ProjectUseView;
  }> {
    const own = await this.#limits.get(null, caller.projectId);
    const { runningJobs, queuedTokens } = await this.#limits.use(caller.projectId);
    return {
      object: 'limits',
      limits: LIMITS,
      project: toView(caller.projectId, own),
      used: { requests, running_jobs: runningJobs, queued_tokens: queuedTokens },
    };
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
