import { Readable } from 'node:stream';
import { newId } from '@batch-infer/contracts';
import { JsonlScanner, type ScanOptions, type ScanSummary } from '@batch-infer/contracts/jsonl';
import type { JobOptions, JobPlan } from '@batch-infer/contracts/native';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { DomainError } from '../errors.js';
import { BATCH_PURPOSE, inputBlobKey, keyReused, shownId } from '../files/files.js';
import { dropUnlessDone, recordObjects } from '../files/record-objects.js';
import { type CreateAttempt, fingerprintOf } from '../ingest/fingerprint.js';
import { assertGoodInput, Ingest, type ReceivedInput } from '../ingest/ingest.js';
import { MESSAGES_ENDPOINT, MessageRequests } from '../ingest/message-requests.js';
import { needsPlanner } from '../plan/wants-plan.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { FileRecord, JobRecord } from '../ports/records.js';
import type { Signals } from '../ports/signals.js';
import { CLOCK, CONFIG, LEDGER, SIGNALS } from '../tokens.js';
import { TargetGuard } from '../webhooks/target-guard.js';
import { assertInlineItems, encodeInline, type InlineInput } from './inline-input.js';
import { itemsByModel, type Judgement, judge, modelOf, shardsOf } from './judge.js';
import { assertOptions, internalInput, newJob } from './new-job.js';

/** Up to so many shards a job is planned in the transaction that creates it, when another order gains nothing. */
const INLINE_PLAN_SHARDS = 64;

export interface CreatedJob {
  readonly job: JobRecord;
  /** True when the same create came before, and this is its job. */
  readonly replayed: boolean;
}

interface CreateParams {
  readonly options: JobOptions;
  readonly attempt: CreateAttempt;
  /** Aborted when the client is gone: then nothing is committed. */
  readonly signal: AbortSignal;
}

type StoredInput = ReceivedInput & { readonly id: string; readonly blobKey: string };

/** Makes jobs: four ways to hand work over, one path behind them. */
@Injectable()
export class JobCreation {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #signals: Signals;
  readonly #ingest: Ingest;
  readonly #config: ControlPlaneConfig;
  readonly #guard: TargetGuard;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(SIGNALS) signals: Signals,
    @Inject(Ingest) ingest: Ingest,
    @Inject(CONFIG) config: ControlPlaneConfig,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#signals = signals;
    this.#ingest = ingest;
    this.#config = config;
    this.#guard = new TargetGuard({ allowHosts: config.webhookAllowHosts });
  }

  /** A job of one input or of inline items. @throws DomainError `invalid_file` with the fields as they were sent. */
  async fromInline(params: CreateParams & { input: InlineInput }): Promise<CreatedJob> {
    this.#assertOptions(params.options);
    const body = await encodeInline(params.input);
    const { id, blobKey } = this.#newInput(params.attempt.projectId);
    const scanner = this.#scannerOf(params.options);
    const received = await dropUnlessDone(this.#ingest.blobs, [blobKey], async () => {
      const stored = await this.#ingest.store({ body, blobKey, scanner });
      assertInlineItems(stored.scan, params.input);
      return stored;
    });
    return await this.#createWithInput(params, { ...received, id, blobKey }, 'native');
  }

  /** A job whose JSONL is the request body. @throws DomainError `invalid_file`, `empty_file`, `file_too_large` */
  async fromStream(params: CreateParams & { source: Readable }): Promise<CreatedJob> {
    this.#assertOptions(params.options);
    const { id, blobKey } = this.#newInput(params.attempt.projectId);
    const scanner = this.#scannerOf(params.options);
    const received = await dropUnlessDone(this.#ingest.blobs, [blobKey], async () => {
      const stored = await this.#ingest.receive({ source: params.source, blobKey, scanner });
      assertGoodInput(stored.scan);
      return stored;
    });
    return await this.#createWithInput(params, { ...received, id, blobKey }, 'native');
  }

  /**
   * Anthropic's create: the body is a JSON object of requests, which becomes a JSONL input while it arrives.
   * @throws DomainError `invalid_json`, `invalid_file` with the requests that are bad, `body_too_large`
   */
  async messages(params: Omit<CreateParams, 'options'> & { source: Readable }): Promise<CreatedJob> {
    const { id, blobKey } = this.#newInput(params.attempt.projectId);
    const requests = new MessageRequests();
    const source = Readable.from(requests.linesOf(params.source), { objectMode: false });
    const scanner = new JsonlScanner({ ...requests.scanOptions, mediaHosts: this.#config.mediaHosts });
    const received = await dropUnlessDone(this.#ingest.blobs, [blobKey], async () => {
      const stored = await this.#ingest.receive({ source, blobKey, scanner });
      assertGoodInput(requests.judge(stored.scan));
      return stored;
    });
    const options: JobOptions = { endpoint: MESSAGES_ENDPOINT };
    return await this.#createWithInput({ ...params, options }, { ...received, id, blobKey }, 'anthropic');
  }

  /**
   * A job over an uploaded file, of which no byte is read again.
   * @throws DomainError `invalid_parameter` (no such file), `wrong_purpose`, `invalid_file`
   */
  async fromFile(params: CreateParams & { fileId: string }): Promise<CreatedJob> {
    this.#assertOptions(params.options);
    const { file, summary } = await this.#inputFile(params.attempt.projectId, params.fileId, 'file_id');
    assertGoodInput(judge({ summary, options: params.options, openai: false }));
    const fingerprint = fingerprintOf({ file: params.fileId }, params.options);
    return await this.#create({
      ...params,
      fingerprint,
      file: null,
      input: { ...file, summary },
      dialect: 'native',
      judgement: null,
    });
  }

  /**
   * OpenAI's create: what only the batch's options can judge does not refuse the request, it makes a batch that has
   * failed, with an entry for each bad line.
   * @throws DomainError `invalid_parameter` (no such file), `wrong_purpose`
   */
  async batch(params: CreateParams & { fileId: string }): Promise<CreatedJob> {
    const { file, summary } = await this.#inputFile(params.attempt.projectId, params.fileId, 'input_file_id');
    const judgement = judge({ summary, options: params.options, openai: true });
    const fingerprint = fingerprintOf({ file: params.fileId }, params.options);
    return await this.#create({
      ...params,
      fingerprint,
      file: null,
      input: { ...file, summary },
      dialect: 'openai',
      judgement,
    });
  }

  /** What `fromFile` would make. */
  async planFile(params: { projectId: string; fileId: string; options: JobOptions }): Promise<JobPlan> {
    this.#assertOptions(params.options);
    const { summary } = await this.#inputFile(params.projectId, params.fileId, 'file_id');
    assertGoodInput(judge({ summary, options: params.options, openai: false }));
    return toPlan(summary, params.options);
  }

  async planInline(params: { input: InlineInput; options: JobOptions }): Promise<JobPlan> {
    this.#assertOptions(params.options);
    const scanner = this.#scannerOf(params.options);
    const { scan } = await this.#ingest.store({
      body: await encodeInline(params.input),
      blobKey: null,
      scanner,
    });
    assertInlineItems(scan, params.input);
    return toPlan(scan.summary, params.options);
  }

  async planStream(params: { source: Readable; options: JobOptions }): Promise<JobPlan> {
    this.#assertOptions(params.options);
    const scanner = this.#scannerOf(params.options);
    const { scan } = await this.#ingest.receive({ source: params.source, blobKey: null, scanner });
    assertGoodInput(scan);
    return toPlan(scan.summary, params.options);
  }

  /** @throws DomainError `invalid_parameter` */
  #assertOptions(options: JobOptions): void {
    assertOptions(options, this.#config.mediaHosts);
    if (options.webhook !== undefined) this.#guard.assertUrl(options.webhook.url, 'webhook.url');
  }

  #scannerOf(options: JobOptions): JsonlScanner {
    return new JsonlScanner({ ...scanOptions(options), mediaHosts: this.#config.mediaHosts });
  }

  #newInput(projectId: string): { id: string; blobKey: string } {
    const id = newId('file', this.#clock.nowMs());
    return { id, blobKey: inputBlobKey(projectId, id) };
  }

  async #createWithInput(
    params: CreateParams,
    stored: StoredInput,
    dialect: JobRecord['dialect'],
  ): Promise<CreatedJob> {
    const { summary } = stored.scan;
    const nowMs = this.#clock.nowMs();
    const { id, blobKey, bytes, sha256 } = stored;
    const file = internalInput({
      id,
      projectId: params.attempt.projectId,
      blobKey,
      bytes,
      sha256,
      summary,
      nowMs,
    });
    const fingerprint = fingerprintOf(sha256, params.options);
    return await this.#create({
      ...params,
      fingerprint,
      file,
      input: { id, blobKey, summary },
      dialect,
      judgement: null,
    });
  }

  async #create(
    params: CreateParams & {
      fingerprint: string;
      file: FileRecord | null;
      input: { id: string; blobKey: string; summary: ScanSummary };
      dialect: JobRecord['dialect'];
      judgement: Judgement | null;
    },
  ): Promise<CreatedJob> {
    const { attempt, options, input, dialect, judgement } = params;
    const refused = judgement !== null && judgement.errorCount > 0;
    const nowMs = this.#clock.nowMs();
    const job = newJob({ projectId: attempt.projectId, dialect, input, options, refused, nowMs });
    const { summary } = input;
    const planned =
      !refused && summary.shards.length <= INLINE_PLAN_SHARDS && !needsPlanner(summary, options);
    const { file } = params;
    const created = await recordObjects({
      blobs: this.#ingest.blobs,
      clock: this.#clock,
      // An input that is a file of its own has its row already.
      keys: file === null ? [] : [file.blobKey],
      storedAtMs: file?.createdAtMs ?? nowMs,
      signal: params.signal,
      record: () =>
        this.#ledger.createJob({
          job,
          file,
          shards: planned ? shardsOf(summary, options) : null,
          idempotency: { ...attempt, fingerprint: params.fingerprint },
          nowMs,
        }),
      keeps: ({ outcome }) => outcome === 'created',
    });
    if (created.outcome === 'conflict') throw keyReused();
    if (created.outcome === 'replayed') return { job: created.record, replayed: true };
    this.#signals.emit('job-accepted', dialect);
    if (refused) {
      await this.#ledger.refuseJob({ jobId: job.id, errors: judgement.errors, nowMs });
      this.#signals.emit('job-ended', 'failed');
      const failed = await this.#ledger.getJob({ projectId: attempt.projectId, id: job.id });
      return { job: failed ?? created.record, replayed: false };
    }
    if (planned) this.#signals.emit('work-ready');
    else this.#signals.emit('job-unplanned', job.id);
    return { job: created.record, replayed: false };
  }

  async #inputFile(
    projectId: string,
    fileId: string,
    param: string,
  ): Promise<{ file: FileRecord; summary: ScanSummary }> {
    const file = await this.#ledger.getFile({ projectId, id: fileId });
    if (file === null || file.internal) {
      throw new DomainError(
        'invalid_parameter',
        `${param}: no file has the id ${shownId(fileId)}. Upload it with POST /v1/files first.`,
        { param },
      );
    }
    if (file.purpose !== BATCH_PURPOSE || file.summary === null) {
      throw new DomainError(
        'wrong_purpose',
        `${param}: file ${fileId} has the purpose "${file.purpose}", and a job needs "${BATCH_PURPOSE}". Upload it again with that purpose.`,
        { param },
      );
    }
    return { file, summary: file.summary };
  }
}

/** The options are known, so that a line that lacks something is an error now. */
function scanOptions(options: JobOptions): ScanOptions {
  const model = modelOf(options);
  return {
    requireComplete: true,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(model === null ? {} : { model }),
    ...(options.defaults === undefined ? {} : { defaults: options.defaults }),
  };
}

const toPlan = (summary: ScanSummary, options: JobOptions): JobPlan => ({
  object: 'job_plan',
  items: summary.items,
  models: itemsByModel(summary, options),
  shards: summary.shards.length,
  input_bytes: summary.bytes,
});
