import { isTerminal, toJobStatus } from '@batch-infer/contracts';
import type { Job } from '@batch-infer/contracts/native';
import { Inject, Injectable } from '@nestjs/common';
import { isPaused } from '../jobs/job-queue.js';
import { JobViews } from '../jobs/job-views.js';
import { Jobs } from '../jobs/jobs.js';
import type { JobRecord } from '../ports/records.js';
import { JobWatch } from './job-watch.js';

/** One thing that happened to a job, with the job as it was then. */
export interface JobEvent {
  /** `status`: it is something else than before; `progress`: its counts or its rate; `finished`: the last one. */
  readonly name: 'status' | 'progress' | 'finished';
  /** Where to go on behind this event. */
  readonly id: string;
  readonly job: Job;
}

/** How often progress is told at most, and a running job looked at that no signal told of. */
const PROGRESS_MS = 1_000;

/** Tells what happens to a job, from now or from an event on. */
@Injectable()
export class JobEvents {
  readonly #jobs: Jobs;
  readonly #views: JobViews;
  readonly #watch: JobWatch;

  constructor(
    @Inject(Jobs) jobs: Jobs,
    @Inject(JobViews) views: JobViews,
    @Inject(JobWatch) watch: JobWatch,
  ) {
    this.#jobs = jobs;
    this.#views = views;
    this.#watch = watch;
  }

  /**
   * Begins with the job as it is, unless `lastEventId` was about exactly that. `null` when there is nothing more to
   * tell: the event was the last one.
   * @throws DomainError `not_found`
   */
  async follow(params: {
    projectId: string;
    id: string;
    lastEventId: string | null;
    signal: AbortSignal;
  }): Promise<AsyncGenerator<JobEvent> | null> {
    const { projectId, id, lastEventId, signal } = params;
    const job = await this.#jobs.get(projectId, id);
    if (isTerminal(job.state) && eventIdOf(job) === lastEventId) return null;
    return this.#events(job, lastEventId, signal);
  }

  /** Ends at the job's end; when the process is about to end, without a `finished`. */
  async *#events(
    first: JobRecord,
    lastEventId: string | null,
    signal: AbortSignal,
  ): AsyncGenerator<JobEvent> {
    using watcher = this.#watch.open(first.id);
    let told = lastEventId === eventIdOf(first) ? first : null;
    let job = first;
    for (;;) {
      if (told === null || job.version !== told.version || job.state === 'running') {
        const name = nameOf(job, told);
        yield { name, id: eventIdOf(job), job: await this.#views.of(job) };
        if (name === 'finished') return;
        told = job;
      }
      const nextMs = performance.now() + PROGRESS_MS;
      do {
        if (this.#watch.draining) return;
        await watcher.next(Math.max(1, nextMs - performance.now()), signal);
        job = await this.#jobs.get(first.projectId, first.id);
        // A change of what it is does not wait; its counts change all the time.
      } while (nameOf(job, told) === 'progress' && performance.now() < nextMs);
    }
  }
}

function nameOf(job: JobRecord, told: JobRecord | null): JobEvent['name'] {
  if (isTerminal(job.state)) return 'finished';
  const same = told !== null && shownState(told) === shownState(job);
  return same ? 'progress' : 'status';
}

const shownState = (job: JobRecord): string =>
  `${toJobStatus(job.state)} ${job.state} ${isPaused(job) ? 'paused' : ''}`;

/** A job's version grows with everything that a reader could see. */
const eventIdOf = ({ version }: JobRecord): string => String(version);
