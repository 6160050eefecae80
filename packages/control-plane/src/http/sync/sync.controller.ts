import { setTimeout as delay } from 'node:timers/promises';
import type { Endpoint } from '@batch-infer/contracts';
import { IDEMPOTENT_REPLAYED_HEADER } from '@batch-infer/contracts/native';
import { Controller, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import type { WholeItem } from '../../jobs/ended-item.js';
import { JobViews } from '../../jobs/job-views.js';
import type { JobRecord } from '../../ports/records.js';
import { BackgroundResponses } from '../../sync-lane/background-responses.js';
import { SyncLane } from '../../sync-lane/sync-lane.js';
import { toAnthropicAnswer } from '../anthropic/anthropic-problem.js';
import { ProjectId } from '../auth/project.js';
import { type Dialect, dialectOf } from '../dialect.js';
import { EVENT_STREAM_HEADERS } from '../events/server-sent-events.js';
import { idempotencyOf } from '../idempotency.js';
import { toProblem } from '../problem.js';
import { ClientGoneError, clientSignal } from '../request-context.js';
import { toPlainResponse, toResponse } from '../responses/response-view.js';
import { type ItemAnswer, toItemAnswer } from './item-answer.js';
import { lateStream } from './late-stream.js';
import { streamText } from './stream-text.js';
import {
  isForBackground,
  JOB_ID_HEADER,
  readBackgroundRequest,
  readSyncRequest,
  type SyncRequest,
} from './sync-request.js';

/** An answer that comes sooner is plain also where a stream was asked for: its status can still say what went wrong. */
const STREAM_BEGINS_MS = 10_000;
/** TCP's own sign of life, for connections that stand still for minutes. */
const KEEP_ALIVE_MS = 10_000;

/** Chat completions, completions, embeddings, responses and messages, answered when they are there. */
@Controller('v1')
export class SyncController {
  readonly #lane: SyncLane;
  readonly #views: JobViews;
  readonly #responses: BackgroundResponses;

  constructor(
    @Inject(SyncLane) lane: SyncLane,
    @Inject(JobViews) views: JobViews,
    @Inject(BackgroundResponses) responses: BackgroundResponses,
  ) {
    this.#lane = lane;
    this.#views = views;
    this.#responses = responses;
  }

  @Post('chat/completions')
  chat(@ProjectId() projectId: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    return this.#answer('/v1/chat/completions', projectId, request, reply);
  }

  @Post('completions')
  completions(@ProjectId() projectId: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    return this.#answer('/v1/completions', projectId, request, reply);
  }

  @Post('embeddings')
  embeddings(@ProjectId() projectId: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    return this.#answer('/v1/embeddings', projectId, request, reply);
  }

  @Post('responses')
  responses(@ProjectId() projectId: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    return isForBackground(request)
      ? this.#background(projectId, request, reply)
      : this.#answer('/v1/responses', projectId, request, reply);
  }

  @Post('messages')
  messages(@ProjectId() projectId: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    return this.#answer('/v1/messages', projectId, request, reply);
  }

  async #background(projectId: string, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const body = readBackgroundRequest(request);
    const attempt = idempotencyOf(request, projectId, 'POST /v1/responses');
    const made = await this.#responses.create({ body, attempt, signal: clientSignal(reply) });
    if (made.replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    await reply.status(200).header(JOB_ID_HEADER, made.job.id).send(toResponse(made));
  }

  async #answer(
    endpoint: Endpoint,
    projectId: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const asked = readSyncRequest(request, endpoint);
    const attempt = idempotencyOf(request, projectId, `POST ${endpoint}`);
    const signal = clientSignal(reply);
    const { job, replayed } = await this.#lane.submit({
      endpoint,
      body: asked.body,
      model: asked.model,
      attempt,
      signal,
    });
    reply.header(JOB_ID_HEADER, job.id);
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    // A wait of minutes without a byte: the connection must not look dead to what stands between.
    request.raw.socket.setKeepAlive(true, KEEP_ALIVE_MS);
    try {
      await this.#wait({ job, asked, dialect: dialectOf(request), requestId: request.id, signal, reply });
    } catch (error) {
      if (error instanceof ClientGoneError && asked.cancelOnDisconnect) await this.#lane.cancel(job);
      throw error;
    }
  }

  async #wait(waiting: Waiting): Promise<void> {
    const { job, asked, dialect, requestId, reply } = waiting;
    const answer = this.#whenEnded(waiting);
    const { stream } = asked;
    const toErrorBody = (error: unknown) => errorBodyOf(error, dialect, requestId);
    if (stream !== null && !(await endsWithin(answer, STREAM_BEGINS_MS))) {
      await reply.status(200).headers(EVENT_STREAM_HEADERS).send(lateStream({ answer, stream, toErrorBody }));
      return;
    }
    const { status, headers, body } = await answer;
    reply.status(status).headers({ ...headers, [JOB_ID_HEADER]: job.id });
    if (stream === null || status !== 200) {
      await reply.header('content-type', 'application/json; charset=utf-8').send(body);
      return;
    }
    const events = streamText({ status, headers, body }, stream, toErrorBody);
    await reply.headers(EVENT_STREAM_HEADERS).send(events);
  }

  async #whenEnded({ job, asked, dialect, signal }: Waiting): Promise<ItemAnswer> {
    const item = await this.#lane.wait({ job, waitMs: asked.waitMs, signal });
    const answer = toItemAnswer(item ?? (await this.#notReady(job, asked)), dialect);
    if (answer.status !== 200 || job.options.endpoint !== '/v1/responses') return answer;
    return { ...answer, body: toPlainResponse(job, asked.body, answer.body) };
  }

  async #notReady(job: JobRecord, { waitMs }: SyncRequest): Promise<WholeItem> {
    const { queue } = await this.#views.of(job);
    const reasons = queue.waiting_for.map(({ message }) => ` ${message}`).join('');
    throw new DomainError(
      'answer_not_ready',
      `There is no answer after ${Math.round(waitMs / 1_000)} seconds.${reasons} The request goes on as job ${job.id}: send it again with the same Idempotency-Key (official SDKs find it by themselves), or read GET /v1/jobs/${job.id}/results.`,
      { retryAfterSeconds: 1 },
    );
  }
}

/** Whether a promise is settled within the time. */
async function endsWithin(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  const timer = new AbortController();
  const late = delay(limitMs, false, { signal: timer.signal }).catch(() => false);
  const settled = promise.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    timer.abort();
  }
}

interface Waiting {
  readonly job: JobRecord;
  readonly asked: SyncRequest;
  readonly dialect: Dialect;
  readonly requestId: string;
  readonly signal: AbortSignal;
  readonly reply: FastifyReply;
}

const errorBodyOf = (error: unknown, dialect: Dialect, requestId: string): unknown =>
  (dialect === 'anthropic' ? toAnthropicAnswer : toProblem)(error, requestId).body;
