import { LIMITS } from '@batch-infer/contracts';
import { DomainError } from '../../errors.js';

/** How many streams each project has open in this process. */
export class OpenStreams {
  readonly #open = new Map<string, number>();

  /** Counts one more; call what it returns when the stream has ended. @throws DomainError `rate_limited` */
  begin(projectId: string): () => void {
    const open = this.#open.get(projectId) ?? 0;
    if (open >= LIMITS.projectStreams) {
      throw new DomainError(
        'rate_limited',
        `A project may have ${LIMITS.projectStreams} event streams open at a time: end some, or ask for the jobs with GET /v1/jobs/{id}?wait=60.`,
        { retryAfterSeconds: 5 },
      );
    }
    this.#open.set(projectId, open + 1);
    return () => {
      const left = (this.#open.get(projectId) ?? 1) - 1;
      if (left === 0) this.#open.delete(projectId);
      else this.#open.set(projectId, left);
    };
  }
}
