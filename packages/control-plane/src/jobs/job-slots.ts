import { isSmallJob, type JobRecord } from '../ports/records.js';

/** Jobs of each size that one process works on at once. */
const PARALLEL_JOBS = 4;

/** The jobs that this process works on, small and large ones apart: nobody waits behind large ones. */
export class JobSlots {
  /** By id, whether it is small. */
  readonly #taken = new Map<string, boolean>();

  has(jobId: string): boolean {
    return this.#taken.has(jobId);
  }

  hasRoom(small: boolean): boolean {
    return [...this.#taken.values()].filter((isSmall) => isSmall === small).length < PARALLEL_JOBS;
  }

  take(job: JobRecord): void {
    this.#taken.set(job.id, isSmallJob(job));
  }

  free(jobId: string): void {
    this.#taken.delete(jobId);
  }
}
