import { isTerminal, JOB_STATES, type JobState, toMessageBatchId } from '@batch-infer/contracts';
import { messageBatch } from '@batch-infer/contracts/anthropic';
import { batch } from '@batch-infer/contracts/openai';
import { describe, expect, it } from 'vitest';
import type { JobRecord } from '../../ports/records.js';
import { toBatch } from '../openai/batch-mapper.js';
import { toMessageBatch } from './message-batch-mapper.js';

/** Numbers from 0 to `below`, the same ones for a seed in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Any job as the ledger may have it: ended ones are accounted for, others only in part. */
function anyJob(seed: number): JobRecord {
  const random = seeded(seed);
  const state = JOB_STATES[random(JOB_STATES.length)] ?? 'queued';
  const ended = isTerminal(state);
  const refused = state === 'failed' && random(3) === 0;
  const total = refused ? 0 : 1 + random(1_000);
  const succeeded = random(total + 1);
  const failed = random(total - succeeded + 1);
  const neverRun = ended ? total - succeeded - failed : 0;
  const endReason = endReasonOf(state, random);
  const expired = endReason === 'expired' ? neverRun : 0;
  return {
    id: `job_${String(seed).padStart(32, '0')}`,
    projectId: 'p',
    state,
    dialect: 'anthropic',
    inputFileId: 'file-1',
    inputBlobKey: 'p/inputs/file-1',
    options: { endpoint: '/v1/messages', ...(random(2) === 0 ? { max_error_rate: 0.5 } : {}) },
    models: ['m'],
    priority: 'normal',
    completionWindow: '24h',
    total,
    succeeded,
    failed,
    reused: 0,
    cancelled: neverRun - expired,
    expired,
    usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
    errorGroups: [],
    inputErrors: refused ? [{ line: 1, param: null, code: 'invalid_json', message: 'Line 1 is bad' }] : [],
    pausedAtMs: null,
    problem: null,
    giveUpAtMs: null,
    endReason,
    outputFileId: ended && succeeded > 0 ? 'file-2' : null,
    errorFileId: ended && total > succeeded ? 'file-3' : null,
    version: 1,
    createdAtMs: 1_000_000,
    queuedAtMs: 1_000_100,
    startedAtMs: null,
    finalizingAtMs: null,
    cancellingAtMs: endReason === null || endReason === 'completed' ? null : 1_000_200,
    finishedAtMs: ended ? 1_000_300 : null,
    expiresAtMs: 87_400_000,
  };
}

function endReasonOf(state: JobState, random: (below: number) => number): JobRecord['endReason'] {
  if (state === 'cancelled') return 'cancelled';
  // What runs is called back for other reasons too.
  if (state === 'cancelling') return (['cancelled', 'expired', 'error_limit'] as const)[random(3)] ?? null;
  if (state === 'expired') return 'expired';
  if (state === 'failed') return random(2) === 0 ? 'error_limit' : 'completed';
  if (state === 'finalizing') return (['completed', 'cancelled', 'expired'] as const)[random(3)] ?? null;
  return null;
}

const seeds = Array.from({ length: 500 }, (_, index) => index + 1);

describe('every job as a message batch', () => {
  it('has the fields, the words and the nulls that SDKs know', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const shown = toMessageBatch(job, 'https://b.example');
      expect(messageBatch.strict().parse(shown)).toEqual(shown);
      expect(shown.id).toBe(toMessageBatchId(job.id));
    }
  });

  it('has counts that sum to its requests, whatever its state', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const { request_counts: counts, processing_status: status } = toMessageBatch(job, '');
      expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(job.total);
      if (status === 'ended') expect(counts.processing).toBe(0);
    }
  });

  it('has ended exactly when its job has, and then has a time and results', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const shown = toMessageBatch(job, 'https://b.example');
      const ended = isTerminal(job.state);
      expect(shown.processing_status === 'ended').toBe(ended);
      expect(shown.ended_at !== null).toBe(ended);
      expect(shown.results_url !== null).toBe(ended);
      if (shown.results_url !== null) expect(new URL(shown.results_url).origin).toBe('https://b.example');
    }
  });

  it('is canceling only when somebody cancelled it, and says since when', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const shown = toMessageBatch(job, '');
      const cancelled = job.endReason === 'cancelled';
      expect(shown.cancel_initiated_at !== null).toBe(cancelled);
      if (shown.processing_status === 'canceling') expect(cancelled).toBe(true);
    }
  });
});

describe('every job as an OpenAI batch', () => {
  it('has every field, and no word that SDKs do not know', () => {
    for (const seed of seeds) {
      const shown = toBatch(anyJob(seed));
      expect(batch.strict().parse(shown)).toEqual(shown);
    }
  });

  it('has errors exactly when it has failed, and never an empty list of them', () => {
    for (const seed of seeds) {
      const { status, errors } = toBatch(anyJob(seed));
      expect(errors !== null).toBe(status === 'failed');
      if (errors !== null) expect(errors.data.length).toBeGreaterThan(0);
    }
  });

  it('has ended in exactly one way when its job has, at the time of that', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const shown = toBatch(job);
      const times = [shown.completed_at, shown.failed_at, shown.expired_at, shown.cancelled_at];
      expect(times.filter((time) => time !== null)).toHaveLength(isTerminal(job.state) ? 1 : 0);
    }
  });

  it('is cancelling only when somebody cancelled it, and says since when', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const shown = toBatch(job);
      const cancelled = job.endReason === 'cancelled';
      expect(shown.cancelling_at !== null).toBe(cancelled);
      if (shown.status === 'cancelling') expect(cancelled).toBe(true);
    }
  });

  it('counts no more than it has, and accounts for the rest in its error file', () => {
    for (const seed of seeds) {
      const job = anyJob(seed);
      const { request_counts: counts, error_file_id: errorFileId, status } = toBatch(job);
      expect(counts.completed + counts.failed).toBeLessThanOrEqual(counts.total);
      if (status === 'completed' || status === 'cancelled' || status === 'expired')
        expect(errorFileId !== null).toBe(counts.total > counts.completed);
    }
  });
});
