import type { Job } from '@batch-infer/contracts/native';
import { Controller, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { JobPauses } from '../../control/job-pauses.js';
import { JobViews } from '../../jobs/job-views.js';
import { ProjectId } from '../auth/project.js';

/** `POST /v1/jobs/{id}/pause|resume`. */
@Controller('v1/jobs')
export class ControlController {
  readonly #pauses: JobPauses;
  readonly #views: JobViews;

  constructor(@Inject(JobPauses) pauses: JobPauses, @Inject(JobViews) views: JobViews) {
    this.#pauses = pauses;
    this.#views = views;
  }

  @Post(':id/pause')
  @HttpCode(200)
  async pause(@ProjectId() projectId: string, @Param('id') id: string): Promise<Job> {
    return await this.#views.of(await this.#pauses.pause(projectId, id));
  }

  @Post(':id/resume')
  @HttpCode(200)
  async resume(@ProjectId() projectId: string, @Param('id') id: string): Promise<Job> {
    return await this.#views.of(await this.#pauses.resume(projectId, id));
  }
}
