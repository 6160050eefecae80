import type { RunnerView } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import { CLOCK, LEDGER } from '../tokens.js';
import { RUNNER_SEEN_MS } from './job-views.js';

/** The live runners and what they serve. Those of one project are nobody else's to see. */
@Injectable()
export class Fleet {
  readonly #ledger: Ledger;
  readonly #clock: Clock;

  constructor(@Inject(LEDGER) ledger: Ledger, @Inject(CLOCK) clock: Clock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** @param projectId who looks; `null`: who administers all projects, or a server without keys */
  async runners(projectId: string | null): Promise<RunnerView[]> {
    const seenAfterMs = this.#clock.nowMs() - RUNNER_SEEN_MS;
    const runners = await this.#ledger.listRunners({ seenAfterMs, projectId });
    return runners.map(({ report, lastSeenAtMs }) => ({
      id: report.runner_id,
      object: 'runner',
      models: [...report.models],
      engines: [...report.engines],
      free_slots: report.free_slots,
      in_flight: report.in_flight,
      items_per_second: report.items_per_second,
      version: report.version,
      last_seen_at: new Date(lastSeenAtMs).toISOString(),
    }));
  }

  /** Models by name, with the last time that a runner which serves it was heard of. */
  async models(projectId: string | null): Promise<{ id: string; seenAtMs: number }[]> {
    const seen = new Map<string, number>();
    for (const runner of await this.runners(projectId)) {
      const atMs = Date.parse(runner.last_seen_at);
      for (const model of runner.models) seen.set(model, Math.max(atMs, seen.get(model) ?? 0));
    }
    return [...seen]
      .map(([id, seenAtMs]) => ({ id, seenAtMs }))
      .sort((left, right) => (left.id < right.id ? -1 : 1));
  }
}
