import { laneName } from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { Logger } from '../telemetry/logger.js';
import { CLOCK, CONFIG, LEDGER, LOGGER, OFFER_PUBLISHER } from '../tokens.js';
import { Dispatcher } from './dispatcher.js';

/** That a lane is used is written down this often; what is wrong with one, at each tick. */
const NOTED_EVERY_MS = 600_000;
const IDLE_LOOK_MS = 600_000;
/** Models whose lanes are removed in one look. */
const REMOVED_AT_ONCE = 20;

/**
 * Keeps the ledger's list of lanes: what is wrong with them, so that every control plane can say it, and when they were
 * used. Lanes of a model that nobody served or asked for in long are removed. Only lanes on that list are: what else a
 * broker holds is not ours.
 */
@Injectable()
export class LaneUpkeep {
  readonly #ledger: Ledger;
  readonly #publisher: OfferPublisher;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #logger: Logger;
  readonly #dispatcher: Dispatcher;
  /** When each lane was last written down, and whether with a problem. */
  readonly #noted = new Map<string, { atMs: number; failing: boolean }>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(OFFER_PUBLISHER) publisher: OfferPublisher,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(Dispatcher) dispatcher: Dispatcher,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#ledger = ledger;
    this.#publisher = publisher;
    this.#clock = clock;
    this.#config = config;
    this.#dispatcher = dispatcher;
    this.#logger = logger;
  }

  async tick(): Promise<void> {
    const { lanes } = this.#publisher;
    if (lanes === undefined) return;
    await this.#note(lanes.problems());
    const nowMs = this.#clock.nowMs();
    if (lanes.idleMs === null || nowMs - this.#lookedMs < IDLE_LOOK_MS) return;
    this.#lookedMs = nowMs;
    await this.#removeIdle(lanes, nowMs - lanes.idleMs);
  }

  /** A runner has shown itself, and lanes of these models were made for it. */
  async prepared(models: readonly string[]): Promise<void> {
    const lanes = models.map((model) => ({ lane: laneName('normal', model), model, problem: null }));
    await this.#ledger.recordLanes({ lanes, nowMs: this.#clock.nowMs() });
  }

  async #note(problems: readonly { lane: string; model: string; reason: string }[]): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const failing = new Map(problems.map((problem) => [problem.lane, problem]));
    const noted: { lane: string; model: string; problem: string | null }[] = problems.map(
      ({ lane, model, reason }) => ({ lane, model, problem: reason }),
    );
    for (const [lane, model] of this.#dispatcher.usedLanes()) {
      if (failing.has(lane)) continue;
      const before = this.#noted.get(lane);
      if (before !== undefined && !before.failing && nowMs - before.atMs < NOTED_EVERY_MS) continue;
      noted.push({ lane, model, problem: null });
    }
    if (noted.length === 0) return;
    await this.#ledger.recordLanes({ lanes: noted, nowMs });
    for (const { lane, problem } of noted) this.#noted.set(lane, { atMs: nowMs, failing: problem !== null });
    for (const [lane, { atMs }] of this.#noted)
      if (nowMs - atMs > 2 * NOTED_EVERY_MS) this.#noted.delete(lane);
  }

  async #removeIdle(lanes: NonNullable<OfferPublisher['lanes']>, usedBeforeMs: number): Promise<void> {
    const seenAfterMs = this.#clock.nowMs() - this.#config.leaseMs;
    const runners = await this.#ledger.listRunners({ seenAfterMs });
    const served = new Set(runners.flatMap(({ report }) => report.models));
    for (const model of await this.#ledger.listIdleLanes({ usedBeforeMs, limit: REMOVED_AT_ONCE })) {
      if (served.has(model)) {
        await this.prepared([model]);
        continue;
      }
      await lanes.remove({ models: [model] });
      await this.#ledger.forgetLanes({ model });
      this.#logger.info({ model }, 'lanes that nobody used were removed');
    }
  }
}
