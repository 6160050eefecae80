import { newId } from '@batch-infer/contracts';
import type { NewShard } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';

/** A job's work file: stored, but of no job yet. */
export interface WorkPlan {
  readonly blobKey: string;
  /** Input index of each item of the work file. */
  readonly order: Uint32Array;
  readonly shards: readonly NewShard[];
}

/** The object that holds a job's lines in the order of its shards: its work file, or the input itself. */
export const linesBlobKey = (job: Pick<JobRecord, 'inputBlobKey' | 'workBlobKey'>): string =>
  job.workBlobKey ?? job.inputBlobKey;

export const newWorkBlobKey = (projectId: string): string => `${projectId}/work/${newId('work')}`;

/** Key of an object that is deleted by whoever made it, or found by the orphan sweep. */
export const newTemporaryBlobKey = (projectId: string): string => `${projectId}/temporary/${newId('work')}`;
