import type { DeletedResponse } from '@batch-infer/contracts/openai';
import { Controller, Delete, Get, HttpCode, Inject, Param, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DomainError } from '../../errors.js';
import { type BackgroundResponse, BackgroundResponses } from '../../sync-lane/background-responses.js';
import { ProjectId } from '../auth/project.js';
import { clientSignal } from '../request-context.js';
import { JOB_ID_HEADER } from '../sync/sync-request.js';
import { toResponse } from './response-view.js';

/** OpenAI's `/v1/responses/{id}`: what became of a response that was made in the background. */
@Controller('v1/responses')
export class ResponsesController {
  readonly #responses: BackgroundResponses;

  constructor(@Inject(BackgroundResponses) responses: BackgroundResponses) {
    this.#responses = responses;
  }

  @Get(':id')
  async get(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Query('stream') stream: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    if (stream === 'true') {
      throw new DomainError(
        'invalid_parameter',
        'stream must not be true: a response is read when it is whole. Ask again until its status says that it has ended.',
        { param: 'stream' },
      );
    }
    return show(reply, await this.#responses.get({ projectId, id }));
  }

  @Post(':id/cancel')
  @HttpCode(200)
  async cancel(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ) {
    return show(reply, await this.#responses.cancel({ projectId, id, signal: clientSignal(reply) }));
  }

  @Delete(':id')
  async delete(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<DeletedResponse> {
    await this.#responses.delete({ projectId, id, signal: clientSignal(reply) });
    return { id, object: 'response', deleted: true };
  }
}

function show(reply: FastifyReply, response: BackgroundResponse) {
  reply.header(JOB_ID_HEADER, response.job.id);
  return toResponse(response);
}
