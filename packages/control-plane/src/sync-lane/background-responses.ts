import { isTerminal, type Priority, parseExactJson } from '@batch-infer/contracts';
import { metadata as metadataSchema } from '@batch-infer/contracts/native';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import { shownId } from '../files/files.js';
import type { CreateAttempt } from '../ingest/fingerprint.js';
import { readBytes } from '../jobs/blob-bytes.js';
import type { WholeItem } from '../jobs/ended-item.js';
import { neverRunStatusOf } from '../jobs/item-reader.js';
import { JobCreation } from '../jobs/job-creation.js';
import { Jobs } from '../jobs/jobs.js';
import type { Blobs } from '../ports/blobs.js';
import { BACKGROUND_LANE_METADATA } from '../ports/lanes.js';
import type { JobRecord } from '../ports/records.js';
import { BLOBS } from '../tokens.js';
import { toRequestError } from './request-error.js';
import { SHORT_LIVED_OUTPUT, SyncLane } from './sync-lane.js';

const ENDPOINT = '/v1/responses';

/** How long a cancel or a delete waits for the runner to let go, or for the files of the end to be written. */
const SETTLE_WAIT_MS = 5_000;

type RequestBody = Readonly<Record<string, unknown>>;

/** What is known of a background response now. */
export interface BackgroundResponse {
  readonly job: JobRecord;
  /** What was asked for; numbers may be kept as their text, see `parseExactJson`. */
  readonly request: RequestBody;
  /** `null` while it has no end. */
  readonly end: WholeItem | null;
}

interface Named {
  readonly projectId: string;
  /** `resp_…`. */
  readonly id: string;
}

/**
 * Responses that are made in the background: each is a job of one item that nobody waits for. Every method that names
 * one throws DomainError `not_found` alike for an unknown id, a foreign one, and that of another kind of job.
 */
@Injectable()
export class BackgroundResponses {
  readonly #lane: SyncLane;
  readonly #creation: JobCreation;
  readonly #jobs: Jobs;
  readonly #blobs: Blobs;

  constructor(
    @Inject(SyncLane) lane: SyncLane,
    @Inject(JobCreation) creation: JobCreation,
    @Inject(Jobs) jobs: Jobs,
    @Inject(BLOBS) blobs: Blobs,
  ) {
    this.#lane = lane;
    this.#creation = creation;
    this.#jobs = jobs;
    this.#blobs = blobs;
  }

  /**
   * Makes one, or finds that of the same request sent before.
   * @throws DomainError for a request that cannot run; `idempotency_key_reused`
   */
  async create(params: {
    /** JSON text of what the engine gets. */
    body: Buffer;
    attempt: CreateAttempt;
    /** Aborted when the client is gone: then nothing is made. */
    signal: AbortSignal;
  }): Promise<BackgroundResponse & { readonly replayed: boolean }> {
    const { body, attempt, signal } = params;
    const { key, value } = BACKGROUND_LANE_METADATA;
    const request = parseExactJson(body.toString('utf8')) as RequestBody;
    const { data: metadata = {} } = metadataSchema.safeParse(request.metadata);
    const { job, replayed } = await this.#creation
      .fromInline({
        input: { kind: 'single', body },
        options: {
          ...SHORT_LIVED_OUTPUT,
          endpoint: ENDPOINT,
          priority: priorityOf(request.service_tier),
          metadata: { ...metadata, [key]: value },
        },
        attempt,
        signal,
      })
      .catch((error: unknown) => {
        throw toRequestError(error);
      });
    return { job, request, end: replayed ? await this.#endOf(job) : null, replayed };
  }

  async get(named: Named): Promise<BackgroundResponse> {
    const job = await this.#find(named);
    const input = await readBytes(this.#blobs, { key: job.inputBlobKey });
    const { body } = parseExactJson(input.toString('utf8')) as { readonly body: RequestBody };
    return { job, request: body, end: await this.#endOf(job) };
  }

  /**
   * Asks for its end and waits a moment for it; one that has ended stays as it is. The signal is that of the client.
   */
  async cancel(named: Named & { signal: AbortSignal }): Promise<BackgroundResponse> {
    const job = await this.#find(named);
    if ((await this.#endOf(job)) === null) {
      const stopping = await this.#jobs.cancel(named.projectId, job.id).catch(endedMeanwhile);
      if (stopping !== null && (await this.#endOf(stopping)) === null) await this.#settle(named);
    }
    return await this.get(named);
  }

  /** Removes one that has ended, with its answer. @throws DomainError `job_not_ended` */
  async delete(named: Named & { signal: AbortSignal }): Promise<void> {
    const job = await this.#find(named);
    // Its answer can be read before its job has ended, and whoever has read it may delete it.
    if (!isTerminal(job.state) && (await this.#endOf(job)) !== null) await this.#settle(named);
    await this.#jobs.delete(named.projectId, named.id);
  }

  async #settle({ projectId, id, signal }: Named & { signal: AbortSignal }): Promise<void> {
    await this.#jobs.wait({ projectId, id, waitMs: SETTLE_WAIT_MS, signal });
  }

  async #find({ projectId, id }: Named): Promise<JobRecord> {
    const notFound = (): DomainError =>
      new DomainError(
        'not_found',
        `No response has the id ${shownId(id)}. Only those made with background: true can be asked for.`,
      );
    if (!id.startsWith('resp_')) throw notFound();
    const job = await this.#jobs.get(projectId, id).catch((error: unknown) => {
      throw error instanceof DomainError && error.code === 'not_found' ? notFound() : error;
    });
    if (!isBackgroundResponse(job)) throw notFound();
    return job;
  }

  async #endOf(job: JobRecord): Promise<WholeItem | null> {
    const end = await this.#lane.endOf(job);
    if (end !== null) return end;
    // No runner holds it any more: nothing can come of it, though the files of the end are not written yet.
    const status = neverRunStatusOf(job);
    return status === null ? null : { ended: 'never_run', index: 0, customId: '0', status };
  }
}

/** Metadata can be given to any job: it is the whole shape that tells. */
function isBackgroundResponse({ total, options }: JobRecord): boolean {
  const { key, value } = BACKGROUND_LANE_METADATA;
  return total === 1 && options.endpoint === ENDPOINT && options.metadata?.[key] === value;
}

/** OpenAI's tiers by what they promise: `flex` may take its time, `priority` and the fast ones pay for speed. */
function priorityOf(serviceTier: unknown): Priority {
  if (serviceTier === 'flex') return 'low';
  return serviceTier === 'priority' || serviceTier === 'fast' || serviceTier === 'ultrafast'
    ? 'high'
    : 'normal';
}

function endedMeanwhile(error: unknown): null {
  if (error instanceof DomainError && error.code === 'job_already_ended') return null;
  throw error;
}
