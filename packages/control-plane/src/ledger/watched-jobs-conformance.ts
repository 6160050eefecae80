import { canMove, isTerminal } from '@batch-infer/contracts';
import { messageBatch } from '@batch-infer/contracts/anthropic';
import { job as jobSchema } from '@batch-infer/contracts/native';
import { batch } from '@batch-infer/contracts/openai';
import { expect } from 'vitest';
import { toMessageBatch } from '../http/anthropic/message-batch-mapper.js';
import { toBatch } from '../http/openai/batch-mapper.js';
import { JobViews } from '../jobs/job-views.js';
import type { Ledger } from '../ports/ledger.js';
import type { JobRecord } from '../ports/records.js';
import { RecordingPublisher } from '../use-cases-fixture.js';

const READS = /^(?:get|list|count|job|queue|budget|backlog|is)/;

/** Looks at jobs after every change of the ledger: how they moved, and how each dialect shows them. */
export class WatchedJobs {
  /** The ledger to make changes through. */
  readonly ledger: Ledger;
  readonly #ledger: Ledger;
  readonly #edges: Set<string>;
  readonly #last = new Map<string, JobRecord>();

  /** @param edges takes every move that is seen, as `queued → running` */
  constructor(ledger: Ledger, edges: Set<string>) {
    this.#ledger = ledger;
    this.#edges = edges;
    this.ledger = new Proxy(ledger, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== 'function' || READS.test(String(name))) return method;
        return async (...params: unknown[]): Promise<unknown> => {
          const answer: unknown = await Reflect.apply(method, target, params);
          await this.look();
          return answer;
        };
      },
    });
  }

  /** A job that has just been made. */
  add(job: JobRecord): void {
    this.#last.set(job.id, job);
  }

  async look(): Promise<void> {
    for (const now of await this.#current()) {
      const before = this.#last.get(now.id);
      if (before === undefined) continue;
      if (now.version === before.version) {
        expect(now.state, 'without a new version nothing moves').toBe(before.state);
        continue;
      }
      this.#checkMove(before, now);
      checkDialects(now);
      this.#last.set(now.id, now);
    }
  }

  /** As the native API shows them, which asks for what runs now. */
  async checkViews(nowMs: number): Promise<void> {
    const views = new JobViews(this.#ledger, { nowMs: () => nowMs }, new RecordingPublisher());
    for (const job of await this.#current()) {
      const { counts } = jobSchema.parse(await views.of(job));
      const { total, ...parts } = counts;
      expect(sum(Object.values(parts)), 'counts of a job').toBe(total);
    }
  }

  async #current(): Promise<JobRecord[]> {
    const projects = new Set([...this.#last.values()].map(({ projectId }) => projectId));
    const pages = [...projects].map((projectId) => this.#ledger.listJobs({ projectId, limit: 100 }));
    return (await Promise.all(pages)).flat();
  }

  #checkMove(before: JobRecord, now: JobRecord): void {
    const edge = `${before.state} → ${now.state}`;
    expect(now.version, `${edge}: versions grow`).toBeGreaterThan(before.version);
    if (before.state === now.state) return;
    this.#edges.add(edge);
    expect(canMove(before.state, now.state), edge).toBe(true);
  }
}

/** Parsing fails for a status that is not one of the dialect's. */
function checkDialects(job: JobRecord): void {
  const openai = batch.parse(toBatch(job)).request_counts;
  expect(openai.total).toBe(job.total);
  expect(openai.completed + openai.failed).toBeLessThanOrEqual(openai.total);
  const anthropic = messageBatch.parse(toMessageBatch(job, 'https://api.example'));
  expect(sum(Object.values(anthropic.request_counts)), 'counts of a message batch').toBe(job.total);
  expect(anthropic.processing_status === 'ended').toBe(isTerminal(job.state));
  if (isTerminal(job.state)) expect(anthropic.request_counts.processing).toBe(0);
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
