import { ENDPOINTS, isEndpoint, LIMITS } from '@batch-infer/contracts';
import { completionWindow, IDEMPOTENT_REPLAYED_HEADER, type JobOptions } from '@batch-infer/contracts/native';
import { type Batch, type CreateBatchRequest, createBatchRequest } from '@batch-infer/contracts/openai';
import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { shownId } from '../../files/files.js';
import { JobCreation } from '../../jobs/job-creation.js';
import { JobViews } from '../../jobs/job-views.js';
import { Jobs } from '../../jobs/jobs.js';
import { ProjectId } from '../auth/project.js';
import { idempotencyOf } from '../idempotency.js';
import { clientSignal } from '../request-context.js';
import { parseWith } from '../validation.js';
import { toBatch } from './batch-mapper.js';
import { type ListView, type PageQuery, pageOf, toListView } from './list-query.js';

/** OpenAI's `/v1/batches`. */
@Controller('v1/batches')
export class BatchesController {
  readonly #creation: JobCreation;
  readonly #jobs: Jobs;
  readonly #views: JobViews;

  constructor(
    @Inject(JobCreation) creation: JobCreation,
    @Inject(Jobs) jobs: Jobs,
    @Inject(JobViews) views: JobViews,
  ) {
    this.#creation = creation;
    this.#jobs = jobs;
    this.#views = views;
  }

  @Post()
  @HttpCode(200)
  async create(
    @ProjectId() projectId: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
  ): Promise<Batch> {
    const attempt = idempotencyOf(request, projectId, 'POST /v1/batches');
    const signal = clientSignal(reply);
    const sent = parseWith(createBatchRequest, body);
    const { job, replayed } = await this.#creation.batch({
      fileId: sent.input_file_id,
      options: toOptions(sent),
      attempt,
      signal,
    });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return toBatch(job);
  }

  @Get()
  async list(@ProjectId() projectId: string, @Query() query: PageQuery): Promise<ListView<Batch>> {
    const { limit, after } = pageOf(query, 'batch');
    const filter = { dialect: 'openai', ...(after === undefined ? {} : { after }) };
    const { jobs, hasMore } = await this.#jobs.list({ projectId, limit, filter });
    return toListView(jobs.map(toBatch), hasMore);
  }

  @Get(':id')
  async get(@ProjectId() projectId: string, @Param('id') id: string): Promise<Batch> {
    const job = await this.#jobs.get(projectId, batchId(id));
    return { ...toBatch(job), ...(await this.#views.extensionOf(job)) };
  }

  @Post(':id/cancel')
  @HttpCode(200)
  async cancel(@ProjectId() projectId: string, @Param('id') id: string): Promise<Batch> {
    return toBatch(await this.#jobs.cancel(projectId, batchId(id)));
  }
}

/** Only this dialect's names are known here. */
function batchId(id: string): string {
  if (id.startsWith('batch_')) return id;
  throw new DomainError('not_found', `No batch has the id ${shownId(id)}.`);
}

function toOptions(sent: CreateBatchRequest): JobOptions {
  const { endpoint, completion_window: window, metadata, output_expires_after: expiry } = sent;
  if (!isEndpoint(endpoint)) {
    throw new DomainError('invalid_endpoint', `endpoint must be one of ${ENDPOINTS.join(', ')}.`, {
      param: 'endpoint',
    });
  }
  if (!completionWindow.safeParse(window).success) {
    throw new DomainError(
      'invalid_parameter',
      `completion_window must be a duration between "1m" and "30d", such as "${LIMITS.completionWindowDefault}".`,
      {
        param: 'completion_window',
      },
    );
  }
  return {
    endpoint,
    completion_window: window,
    ...(metadata === null || metadata === undefined ? {} : { metadata }),
    ...(expiry === null || expiry === undefined
      ? {}
      : { output_expires_after_seconds: expirySeconds(expiry.seconds) }),
  };
}

function expirySeconds(seconds: number): number {
  const { fileExpiryMinSeconds: least, fileExpiryMaxSeconds: most } = LIMITS;
  if (seconds >= least && seconds <= most) return seconds;
  throw new DomainError(
    'invalid_parameter',
    `output_expires_after.seconds must be a whole number from ${least} to ${most}.`,
    {
      param: 'output_expires_after.seconds',
    },
  );
}
