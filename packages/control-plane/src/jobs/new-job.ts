import { LIMITS, newId, parseDurationMs } from '@batch-infer/contracts';
import { findForbiddenMedia, type MediaHosts, type ScanSummary } from '@batch-infer/contracts/jsonl';
import type { JobOptions } from '@batch-infer/contracts/native';
import { DomainError } from '../errors.js';
import type { FileRecord, JobRecord } from '../ports/records.js';
import { modelsOf } from './judge.js';

/** The row of a job that is about to be created. `refused`: it will fail at once, and none of its items was accepted. */
export function newJob(params: {
  projectId: string;
  dialect: JobRecord['dialect'];
  input: { id: string; blobKey: string; summary: ScanSummary };
  options: JobOptions;
  refused: boolean;
  nowMs: number;
}): JobRecord {
  const { input, options, nowMs } = params;
  const completionWindow = options.completion_window ?? LIMITS.completionWindowDefault;
  return {
    id: newId('job', nowMs),
    projectId: params.projectId,
    state: 'validating',
    dialect: params.dialect,
    inputFileId: input.id,
    inputBlobKey: input.blobKey,
    options,
    models: modelsOf(input.summary, options),
    priority: options.priority ?? 'normal',
    completionWindow,
    total: params.refused ? 0 : input.summary.items,
    succeeded: 0,
    failed: 0,
    reused: 0,
    cancelled: 0,
    expired: 0,
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    errorGroups: [],
    inputErrors: [],
    pausedAtMs: null,
    problem: null,
    giveUpAtMs: null,
    endReason: null,
    outputFileId: null,
    errorFileId: null,
    version: 1,
    createdAtMs: nowMs,
    queuedAtMs: null,
    startedAtMs: null,
    finalizingAtMs: null,
    cancellingAtMs: null,
    finishedAtMs: null,
    expiresAtMs: nowMs + windowMs(completionWindow),
  };
}

/** The row of an input that came with its job: listed nowhere, gone with the job. */
export function internalInput(params: {
  id: string;
  projectId: string;
  blobKey: string;
  bytes: number;
  sha256: string;
  summary: ScanSummary;
  nowMs: number;
}): FileRecord {
  const { nowMs, ...input } = params;
  return {
    ...input,
    purpose: 'batch',
    filename: 'input.jsonl',
    internal: true,
    createdAtMs: nowMs,
    expiresAtMs: null,
  };
}

export const windowMs = (completionWindow: string): number =>
  parseDurationMs(completionWindow) ?? parseDurationMs(LIMITS.completionWindowDefault) ?? 0;

/**
 * What the schema cannot say about options.
 * @throws DomainError `invalid_parameter`
 */
export function assertOptions(options: JobOptions, mediaHosts: MediaHosts): void {
  const { defaults, model } = options;
  const refuse = (param: string, message: string): never => {
    throw new DomainError('invalid_parameter', message, { param });
  };
  if (options.reuse_max_age_seconds !== undefined && options.reuse !== 'project') {
    refuse('reuse_max_age_seconds', 'reuse_max_age_seconds has a meaning with reuse "project" only.');
  }
  if (defaults === undefined) return;
  if (defaults.stream === true)
    refuse(
      'defaults.stream',
      'defaults.stream must not be true: results of a batch are read when they are whole.',
    );
  const media = findForbiddenMedia(defaults, mediaHosts, 'defaults');
  if (media !== null) refuse(media.param ?? 'defaults', `${media.message}.`);
  const defaultModel = defaults.model;
  if (defaultModel === undefined) return;
  if (typeof defaultModel !== 'string' || defaultModel === '' || defaultModel.length > LIMITS.modelChars) {
    refuse('defaults.model', `defaults.model must be a string of 1 to ${LIMITS.modelChars} characters.`);
  }
  if (model !== undefined && model !== defaultModel)
    refuse('defaults.model', 'model and defaults.model name two different models. Give one of them.');
}
