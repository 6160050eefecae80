import { Readable } from 'node:stream';
import { isTerminal, LIMITS } from '@batch-infer/contracts';
import type { DeletedMessageBatch, MessageBatch, MessageBatchList } from '@batch-infer/contracts/anthropic';
import { IDEMPOTENT_REPLAYED_HEADER } from '@batch-infer/contracts/native';
import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { shownId } from '../../files/files.js';
import { messageBatchTooLarge } from '../../ingest/message-requests.js';
import { EVERYTHING } from '../../jobs/item-reader.js';
import { JobCreation } from '../../jobs/job-creation.js';
import { JobViews } from '../../jobs/job-views.js';
import { Jobs } from '../../jobs/jobs.js';
import { Results } from '../../jobs/results.js';
import type { JobRecord } from '../../ports/records.js';
import { ProjectId } from '../auth/project.js';
import { STREAMED_BODY } from '../content-parsers.js';
import { idempotencyOf } from '../idempotency.js';
import { PublicUrl } from '../public-url.js';
import { clientSignal } from '../request-context.js';
import { sendResults } from '../result-answers.js';
import { toMessageBatch } from './message-batch-mapper.js';
import { type MessageListQuery, messagePageOf } from './message-list-query.js';
import { toMessageResultLines } from './message-result-lines.js';

/** How often upstream asks to be asked about a batch that runs, in seconds. */
const RETRY_AFTER_SECONDS = '10';

/** Anthropic's `/v1/messages/batches`. */
@Controller('v1/messages/batches')
export class MessageBatchesController {
  readonly #creation: JobCreation;
  readonly #jobs: Jobs;
  readonly #results: Results;
  readonly #views: JobViews;
  readonly #publicUrl: PublicUrl;

  constructor(
    @Inject(JobCreation) creation: JobCreation,
    @Inject(Jobs) jobs: Jobs,
    @Inject(Results) results: Results,
    @Inject(JobViews) views: JobViews,
    @Inject(PublicUrl) publicUrl: PublicUrl,
  ) {
    this.#creation = creation;
    this.#jobs = jobs;
    this.#results = results;
    this.#views = views;
    this.#publicUrl = publicUrl;
  }

  @Post()
  @HttpCode(200)
  @RouteConfig(STREAMED_BODY)
  async create(
    @ProjectId() projectId: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
  ): Promise<MessageBatch> {
    const attempt = idempotencyOf(request, projectId, 'POST /v1/messages/batches');
    const signal = clientSignal(reply);
    const source = bodyOf(request, body);
    const { job, replayed } = await this.#creation.messages({ source, attempt, signal });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return this.#view(job);
  }

  @Get()
  async list(@ProjectId() projectId: string, @Query() query: MessageListQuery): Promise<MessageBatchList> {
    const { limit, ...page } = messagePageOf(query);
    const { jobs, hasMore } = await this.#jobs.list({
      projectId,
      limit,
      filter: { dialect: 'anthropic', ...page },
    });
    const data = jobs.map((job) => this.#view(job));
    return {
      data,
      has_more: hasMore,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
    };
  }

  @Get(':id')
  async get(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<MessageBatch> {
    const job = await this.#find(projectId, id);
    if (!isTerminal(job.state)) reply.header('retry-after', RETRY_AFTER_SECONDS);
    return { ...this.#view(job), ...(await this.#views.extensionOf(job)) };
  }

  @Get(':id/results')
  async results(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const job = await this.#find(projectId, id);
    if (!isTerminal(job.state)) {
      throw new DomainError(
        'job_not_ended',
        `Message batch ${id} has no results yet: it is still processing. Ask again when processing_status is "ended".`,
      );
    }
    const asked = { order: 'input', after: null, wanted: EVERYTHING } as const;
    const signal = clientSignal(reply);
    const lines = () => toMessageResultLines(this.#results.read({ job, ...asked, signal }));
    reply.header('content-type', 'application/x-jsonl; charset=utf-8');
    await sendResults(request, reply, { job, asked: 'messages', lines });
  }

  @Post(':id/cancel')
  @HttpCode(200)
  async cancel(@ProjectId() projectId: string, @Param('id') id: string): Promise<MessageBatch> {
    await this.#find(projectId, id);
    return this.#view(await this.#jobs.cancel(projectId, id));
  }

  @Delete(':id')
  async delete(@ProjectId() projectId: string, @Param('id') id: string): Promise<DeletedMessageBatch> {
    await this.#find(projectId, id);
    await this.#jobs.delete(projectId, id);
    return { id, type: 'message_batch_deleted' };
  }

  #view(job: JobRecord): MessageBatch {
    return toMessageBatch(job, this.#publicUrl.origin);
  }

  /** Jobs of other dialects have no place here: what their engines said is no message. */
  async #find(projectId: string, id: string): Promise<JobRecord> {
    if (id.startsWith('msgbatch_')) {
      const job = await this.#jobs.get(projectId, id).catch((error: unknown) => {
        if (error instanceof DomainError && error.code === 'not_found') return null;
        throw error;
      });
      if (job?.dialect === 'anthropic') return job;
    }
    throw new DomainError('not_found', `No message batch has the id ${shownId(id)}.`);
  }
}

/** @throws DomainError `unsupported_media_type`, `invalid_json`, `body_too_large` before a byte of it is read */
function bodyOf(request: FastifyRequest, body: unknown): Readable {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new DomainError(
      'unsupported_media_type',
      'Message batches are created with content-type: application/json.',
    );
  }
  if (Number(request.headers['content-length']) > LIMITS.messageBatchBytes) throw messageBatchTooLarge();
  if (body instanceof Readable) return body;
  throw new DomainError('invalid_json', 'The body is empty. Send {"requests": [...]}.');
}
