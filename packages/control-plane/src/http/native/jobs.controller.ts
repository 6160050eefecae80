import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DEFAULT_ENDPOINT, isTerminal, LIMITS, parseExactJson } from '@batch-infer/contracts';
import {
  createJobRequest,
  IDEMPOTENT_REPLAYED_HEADER,
  INCOMPLETE_HEADER,
  type Job,
  type JobList,
  type JobOptions,
  type JobPlan,
  LAST_LINE_HEADER,
  retryJobRequest,
} from '@batch-infer/contracts/native';
import { Body, Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { elementsOf, memberOf } from '../../ingest/json-pieces.js';
import type { InlineInput } from '../../jobs/inline-input.js';
import type { Wanted } from '../../jobs/item-reader.js';
import { type CreatedJob, JobCreation } from '../../jobs/job-creation.js';
import { JobViews } from '../../jobs/job-views.js';
import { Jobs } from '../../jobs/jobs.js';
import { Results } from '../../jobs/results.js';
import { ProjectId } from '../auth/project.js';
import { idempotencyOf } from '../idempotency.js';
import { takeJsonBytes } from '../json-body.js';
import { clientSignal, headerOf } from '../request-context.js';
import { sendResults } from '../result-answers.js';
import { parseWith } from '../validation.js';
import {
  filterOf,
  limitOf,
  optionsOf,
  type Query as QueryValues,
  resultsQueryOf,
  waitSecondsOf,
} from './job-query.js';
import { toResultLines } from './result-lines.js';

/** `/v1/jobs`: maps requests to use cases and back, and nothing else. */
@Controller('v1/jobs')
export class JobsController {
  readonly #creation: JobCreation;
  readonly #jobs: Jobs;
  readonly #views: JobViews;
  readonly #results: Results;

  constructor(
    @Inject(JobCreation) creation: JobCreation,
    @Inject(Jobs) jobs: Jobs,
    @Inject(JobViews) views: JobViews,
    @Inject(Results) results: Results,
  ) {
    this.#creation = creation;
    this.#jobs = jobs;
    this.#views = views;
    this.#results = results;
  }

  @Post()
  async create(
    @ProjectId() projectId: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
    @Query() query: QueryValues,
  ): Promise<Job | JobPlan> {
    const attempt = idempotencyOf(request, projectId, 'POST /v1/jobs');
    const signal = clientSignal(reply);
    if (body instanceof Readable) {
      const { options: given, dryRun } = optionsOf(query);
      const options = withEndpoint(given);
      if (dryRun) return plan(reply, await this.#creation.planStream({ source: body, options }));
      return await this.#accepted(
        reply,
        await this.#creation.fromStream({ source: body, options, attempt, signal }),
      );
    }
    const [misplaced] = Object.keys(query);
    if (misplaced !== undefined) {
      throw new DomainError(
        'invalid_parameter',
        `${misplaced} stands in the address, and the body is JSON: put it into the body. In the address options belong to a body of JSONL.`,
        { param: misplaced },
      );
    }
    const { input, items, file_id: fileId, dry_run: dryRun, ...checked } = parseWith(createJobRequest, body);
    // What goes on to engines is what was sent: checked copies lack digits of long numbers, and keys such as `__proto__`.
    const source = takeJsonBytes(request);
    // Of a large body each look at all of it is a turn of its own.
    await nextTurn();
    const options = withEndpoint(withDefaultsAsSent(checked, source));
    await nextTurn();
    if (fileId !== undefined) {
      if (dryRun) return plan(reply, await this.#creation.planFile({ projectId, fileId, options }));
      return await this.#accepted(reply, await this.#creation.fromFile({ fileId, options, attempt, signal }));
    }
    const inline: InlineInput =
      items === undefined
        ? { kind: 'single', body: pieceOf(source, 'input', input) }
        : { kind: 'items', items: elementsOf(pieceOf(source, 'items', items)) };
    await nextTurn();
    if (dryRun) return plan(reply, await this.#creation.planInline({ input: inline, options }));
    return await this.#accepted(
      reply,
      await this.#creation.fromInline({ input: inline, options, attempt, signal }),
    );
  }

  @Get()
  async list(@ProjectId() projectId: string, @Query() query: QueryValues): Promise<JobList> {
    const { jobs, hasMore } = await this.#jobs.list({
      projectId,
      limit: limitOf(query),
      filter: filterOf(query),
    });
    const data = await this.#views.page(jobs);
    return {
      object: 'list',
      data,
      has_more: hasMore,
      next_cursor: hasMore ? (jobs.at(-1)?.id ?? null) : null,
    };
  }

  @Get(':id')
  async get(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Query() query: QueryValues,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Job | undefined> {
    const waitSeconds = waitSecondsOf(query, headerOf(request, 'prefer'));
    const record =
      waitSeconds === 0
        ? await this.#jobs.get(projectId, id)
        : await this.#jobs.wait({ projectId, id, waitMs: waitSeconds * 1_000, signal: clientSignal(reply) });
    const job = await this.#views.of(record);
    if (waitSeconds > 0) reply.header('preference-applied', `wait=${waitSeconds}`);
    return withPollingHeaders(request, reply, job, record.version);
  }

  @Get(':id/results')
  async results(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Query() query: QueryValues,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    await this.#send({ projectId, id, asked: resultsQueryOf(query), request, reply });
  }

  @Get(':id/errors')
  async errors(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Query() query: QueryValues,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { order, after, wanted } = resultsQueryOf(query);
    const asked = { order, after, wanted: { ...wanted, succeeded: false } };
    await this.#send({ projectId, id, asked, request, reply });
  }

  @Post(':id/cancel')
  @HttpCode(200)
  async cancel(@ProjectId() projectId: string, @Param('id') id: string): Promise<Job> {
    return await this.#views.of(await this.#jobs.cancel(projectId, id));
  }

  /** With an `Idempotency-Key`, or when an SDK repeats it by itself, a job that runs again already is the answer. */
  @Post(':id/retry')
  @HttpCode(202)
  async retry(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
  ): Promise<Job> {
    const { status } = parseWith(retryJobRequest, body);
    const { key, isRetry } = idempotencyOf(request, projectId, 'POST /v1/jobs/{id}/retry');
    const repeated = key !== null || isRetry;
    const { job, replayed } = await this.#jobs.retry({
      projectId,
      id,
      statuses: status ?? ['failed'],
      repeated,
    });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return await this.#views.of(job);
  }

  async #accepted(reply: FastifyReply, { job, replayed }: CreatedJob): Promise<Job> {
    reply.status(202).header('location', `/v1/jobs/${job.id}`);
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return await this.#views.of(job);
  }

  async #send(params: {
    projectId: string;
    id: string;
    asked: { order: 'input' | 'completion'; after: string | null; wanted: Wanted };
    request: FastifyRequest;
    reply: FastifyReply;
  }): Promise<void> {
    const { projectId, id, asked, request, reply } = params;
    const job = await this.#jobs.get(projectId, id);
    const signal = clientSignal(reply);
    const { incomplete, lastLine } = await this.#results.head(job, asked.order);
    reply.header('content-type', 'application/x-ndjson; charset=utf-8');
    if (incomplete) reply.header(INCOMPLETE_HEADER, 'true');
    if (lastLine !== null) reply.header(LAST_LINE_HEADER, String(lastLine));
    const lines = () => toResultLines(this.#results.read({ job, ...asked, signal }));
    await sendResults(request, reply, { job, asked, lines });
  }
}

const withEndpoint = (options: JobOptions): JobOptions => ({ endpoint: DEFAULT_ENDPOINT, ...options });

const pieceOf = (source: Buffer, key: string, checked: unknown): Buffer =>
  memberOf(source, key) ?? Buffer.from(JSON.stringify(checked));

function withDefaultsAsSent(options: JobOptions, source: Buffer): JobOptions {
  const text = options.defaults === undefined ? null : memberOf(source, 'defaults');
  if (text === null) return options;
  return { ...options, defaults: parseExactJson(text.toString('utf8')) as Record<string, unknown> };
}

function plan(reply: FastifyReply, answer: JobPlan): JobPlan {
  reply.status(200);
  return answer;
}

/**
 * ETag and 304 over everything but the rates, which change by themselves; `Retry-After` while it runs.
 */
function withPollingHeaders(
  request: FastifyRequest,
  reply: FastifyReply,
  job: Job,
  version: number,
): Job | undefined {
  const { progress, ...lasting } = job;
  const digest = createHash('sha256').update(JSON.stringify(lasting)).digest('base64url').slice(0, 16);
  const etag = `W/"${version}-${digest}"`;
  reply.header('etag', etag).header('cache-control', 'no-cache');
  if (!isTerminal(job.status)) reply.header('retry-after', String(retryAfterSeconds(progress.eta_seconds)));
  const known = headerOf(request, 'if-none-match')
    ?.split(',')
    .map((tag) => tag.trim());
  if (known?.includes(etag) !== true) return job;
  reply.status(304);
  return undefined;
}

/** A tenth of what is left, from 1 to 30 seconds. */
const retryAfterSeconds = (etaSeconds: number | null): number =>
  Math.max(1, Math.min(Math.ceil((etaSeconds ?? 10) / 10), 30, LIMITS.retryAfterMaxSeconds));
