import { newId } from '@batch-infer/contracts';

/** The name of a new segment of a job. */
export const newSegmentBlobKey = (projectId: string, jobId: string, nowMs?: number): string =>
  `${projectId}/segments/${jobId}/${newId('seg', nowMs)}`;
