import { createProjectRequest, type ProjectView, updateProjectRequest } from '@batch-infer/contracts/access';
import { IDEMPOTENT_REPLAYED_HEADER } from '@batch-infer/contracts/native';
import { Body, Controller, Get, HttpCode, Inject, Param, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { ProjectAdministration } from '../../access/project-administration.js';
import { type Caller, CurrentCaller, projectLimitOf } from '../auth/project.js';
import { parseWith } from '../validation.js';
import { toProjectView } from './access-views.js';

/** `/v1/projects`. */
@Controller('v1/projects')
export class ProjectsController {
  readonly #projects: ProjectAdministration;

  constructor(@Inject(ProjectAdministration) projects: ProjectAdministration) {
    this.#projects = projects;
  }

  @Post()
  @HttpCode(201)
  async create(
    @CurrentCaller() caller: Caller,
    @Body() body: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ProjectView> {
    const request = parseWith(createProjectRequest, body);
    const { project, replayed } = await this.#projects.create(projectLimitOf(caller), request);
    if (replayed) reply.status(200).header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return toProjectView(project);
  }

  @Get()
  async list(@CurrentCaller() caller: Caller): Promise<{ object: 'list'; data: ProjectView[] }> {
    return { object: 'list', data: (await this.#projects.list(projectLimitOf(caller))).map(toProjectView) };
  }

  @Post(':id')
  @HttpCode(200)
  async update(
    @CurrentCaller() caller: Caller,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<ProjectView> {
    const request = parseWith(updateProjectRequest, body);
    return toProjectView(await this.#projects.update(projectLimitOf(caller), id, request));
  }
}
