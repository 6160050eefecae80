import { LIMITS } from '@batch-infer/contracts';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import { DomainError } from '../errors.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { RunnerIdentity } from '../ports/runners.js';
import { CLOCK, CONFIG, LEDGER } from '../tokens.js';

/** Keeps what runners report. A runner is its key: nobody else speaks for it while it lives. */
@Injectable()
export class RunnerRegistry {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
  }

  /**
   * @throws DomainError `runner_id_taken` when a runner of this id lives under another key, `too_many_runners` when the
   * runners of its project report too much together, `body_too_large` for a report that is too long
   */
  async save(report: RunnerReport, identity: RunnerIdentity): Promise<void> {
    const bytes = Buffer.byteLength(JSON.stringify(report));
    if (bytes > LIMITS.runnerReportBytes) {
      throw new DomainError(
        'body_too_large',
        `The report of a runner has at most ${LIMITS.runnerReportBytes} bytes, this one has ${bytes}: let it name fewer models or engines.`,
      );
    }
    const nowMs = this.#clock.nowMs();
    const outcome = await this.#ledger.saveRunner({
      report,
      identity,
      liveAfterMs: nowMs - this.#config.leaseMs,
      projectBytes: LIMITS.projectReportBytes,
      nowMs,
    });
    if (outcome === 'taken') {
      throw new DomainError(
        'runner_id_taken',
        'A live runner with another API key has this runner_id: start the runner again, so that it takes a new one.',
        { param: 'runner_id' },
      );
    }
    if (outcome === 'full') {
      throw new DomainError(
        'too_many_runners',
        `The runners of one project report at most ${LIMITS.projectReportBytes} bytes together: end some of them, or give them keys of all projects.`,
      );
    }
  }
}
