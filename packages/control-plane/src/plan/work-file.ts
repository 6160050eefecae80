import { newId } from '@batch-infer/contracts';
import type { JobRecord } from '../ports/records.js';

/** The object that holds a job's lines in the order of its shards: its work file, or the input itself. */
export const linesBlobKey = (job: Pick<JobRecord, 'inputBlobKey' | 'workBlobKey'>): string =>
  job.workBlobKey ?? job.inputBlobKey;

export const newWorkBlobKey = (projectId: string): string => `${projectId}/work/${newId('work')}`;

/** Key of an object that is deleted by whoever made it, or found by the orphan sweep. */
export const newTemporaryBlobKey = (projectId: string): string => `${projectId}/temporary/${newId('work')}`;
