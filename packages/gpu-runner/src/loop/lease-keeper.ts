import type {
  Lease,
  ReleaseRequest,
  RenewResponse,
  RunnerReport,
  SettleResponse,
} from '@batch-infer/contracts/runner-protocol';
import { type Clock, sleep } from '../clock.js';
import { type RunnerLogger, reasonOf } from '../logger.js';
import { type ServerClient, ServerError } from '../server/client.js';
import type { OutageWaits } from '../server/outage-waits.js';
import type { RunnerStats } from '../stats.js';
import type { ItemMemory } from '../work/item.js';
import { ShardRun } from '../work/shard-run.js';
import type { Dispatcher } from './dispatcher.js';
import { type OutcomeLine, Settler } from './settler.js';

export interface LeaseKeeperOptions {
  readonly server: Pick<ServerClient, 'settle' | 'release' | 'renew'>;
  readonly dispatcher: Pick<Dispatcher, 'dropWaiting' | 'abortInFlight' | 'fill'>;
  readonly memory: ItemMemory;
  readonly clock: Clock;
  readonly waits: OutageWaits;
  readonly random: () => number;
  readonly stats: RunnerStats;
  readonly logger: RunnerLogger;
  readonly report: () => RunnerReport;
}

type ReleaseReason = ReleaseRequest['reason'];

const RELEASE_TRIES = 5;
/** Outcomes of a lease that is over by our clock are offered for so long: the control plane may have been away itself. */
const DOUBTFUL_MS = 600_000;
const LEASE_MARGIN_MAX_MS = 2_000;

/** Holds the leases of this runner: renews them, ends them in every way there is, and aborts its own work in time. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #runs = new Map<string, ShardRun>();
  #inTrouble = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  get runs(): readonly ShardRun[] {
    return [...this.#runs.values()];
  }

  /** Bytes of outcomes that the control plane has not taken yet. */
  get unsettledBytes(): number {
    let bytes = 0;
    for (const { settler } of this.#runs.values()) bytes += settler.unsettledBytes;
    return bytes;
  }

  /** About so many bytes of requests are held, or about to be read. */
  get heldBytes(): number {
    let bytes = 0;
    for (const { lease, undecided } of this.#runs.values()) bytes += (lease.bytes * undecided) / lease.count;
    return bytes;
  }

  holds(shardId: string): boolean {
    return this.#runs.has(shardId);
  }

  /** Takes a lease that was asked for at `claimedAtMs`. */
  open(lease: Lease, claimedAtMs: number): ShardRun {
    const { server, clock, waits, random, stats } = this.#options;
    const settler = new Settler({
      settle: (segment) => server.settle(lease.shard_id, lease.epoch, segment),
      clock,
      waits,
      random,
      onSettled: (response) => {
        stats.settles += 1;
        this.#recovered();
        this.#settled(run, response);
      },
      onRoom: () => this.#options.dispatcher.fill(),
      onRefused: (line, reason) => this.#outcomeRefused(run, line, reason),
      onDropped: (why, error) => this.#dropped(run, why, error),
      onTrouble: (error) => this.#trouble(error),
    });
    const run = new ShardRun(lease, settler, claimedAtMs);
    this.#runs.set(lease.shard_id, run);
    return run;
  }

  /** One heartbeat: tells the control plane how we are, and learns which leases go on. */
  async renew(timeoutMs: number): Promise<boolean> {
    const { server, clock, report } = this.#options;
    const sentAtMs = clock.nowMs();
    const held = this.runs.map(({ lease }) => ({ shard_id: lease.shard_id, epoch: lease.epoch }));
    let response: RenewResponse;
    try {
      response = await server.renew({ ...report(), leases: held }, timeoutMs);
    } catch (error) {
      this.#trouble(error);
      return false;
    }
    this.#recovered();
    for (const entry of response.leases) {
      const run = this.#runs.get(entry.shard_id);
      if (run === undefined || run.lease.epoch !== entry.epoch) continue;
      if (entry.remaining_ms !== undefined) run.jobEndsAtMs = sentAtMs + entry.remaining_ms;
      if (entry.status === 'lost') this.#lost(run);
      else if (entry.status === 'stop') void this.end(run, 'stopped');
      // A run that is doubtful has given up its items: it is settled and released, not taken up again.
      else run.leaseEndsAtMs = sentAtMs + entry.lease_ms;
    }
    return true;
  }

  /** Aborts what runs under a lease that may be over. Called often; also the first thing after a freeze. */
  checkDeadlines(): void {
    const nowMs = this.#options.clock.nowMs();
    for (const run of this.runs) {
      const marginMs = Math.min(LEASE_MARGIN_MAX_MS, run.lease.lease_ms / 10);
      if (run.phase === 'open' && nowMs >= run.leaseEndsAtMs - marginMs) {
        this.#options.logger.warn(
          { shard: run.lease.shard_id, unsettled: run.settler.unsettled },
          'a lease could not be renewed in time: its work is aborted',
        );
        this.#give(run, 'doubtful');
        void this.#settleAndRelease(run, 'overload');
      } else if (run.phase !== 'open' && nowMs >= run.leaseEndsAtMs + DOUBTFUL_MS) this.#close(run);
    }
  }

  /** Stops the work of jobs: settles what is done, aborts the rest, gives the leases back. */
  async stopJobs(jobIds: readonly string[]): Promise<void> {
    const runs = this.runs.filter((run) => jobIds.includes(run.lease.job_id));
    await Promise.all(runs.map((run) => this.end(run, 'stopped')));
  }

  /** Ends one lease now: nothing more starts, requests in flight are aborted, what is done is settled. */
  async end(run: ShardRun, reason: ReleaseReason): Promise<void> {
    if (run.phase === 'closed') return;
    this.#give(run, 'closing');
    await this.#settleAndRelease(run, reason);
  }

  /** Nothing more starts, but requests in flight go on. */
  hold(run: ShardRun): void {
    run.reading.abort();
    this.#options.dispatcher.dropWaiting(run);
    if (run.phase === 'open') run.phase = 'closing';
  }

  /** The end: what has not been settled by now never is. */
  abandon(): void {
    for (const run of this.runs) run.settler.stop();
  }

  /** All lines were read: lines that should have been there never come. */
  readWhole(run: ShardRun, missing: boolean): void {
    if (run.undecided === 0) void run.settler.flush();
    if (!missing) return;
    this.#options.logger.error(
      { shard: run.lease.shard_id },
      'the control plane sent fewer lines than the shard has',
    );
    void this.end(run, 'overload');
  }

  /** The control plane would not give the lines of this lease. */
  refused(run: ShardRun, error: ServerError): void {
    if (error.leaseLost) this.#lost(run);
    else {
      this.#options.logger.error(
        { shard: run.lease.shard_id, reason: error.message },
        'the lines of a shard were refused',
      );
      void this.end(run, 'overload');
    }
  }

  #settled(run: ShardRun, response: SettleResponse): void {
    if (response.shard_done) this.#close(run);
    else if (response.stop && run.phase === 'open') void this.end(run, 'stopped');
    else if (run.undecided === 0 && run.settler.unsettled === 0) void this.end(run, 'overload');
  }

  #dropped(run: ShardRun, why: 'lost' | 'refused', error: ServerError): void {
    if (why === 'lost') {
      this.#lost(run);
      return;
    }
    this.#options.logger.error(
      { shard: run.lease.shard_id, reason: error.message },
      'an outcome was refused in every form: its shard is given back as lost',
    );
    void this.end(run, 'refused');
  }

  #outcomeRefused(run: ShardRun, line: OutcomeLine, reason: string): void {
    const { stats, logger } = this.#options;
    stats.refusedOutcomes += 1;
    stats.countFailure('invalid_response');
    if (line.ok) {
      stats.succeeded -= 1;
      stats.failed += 1;
    }
    logger.warn(
      { shard: run.lease.shard_id, job: run.lease.job_id, reason },
      'the control plane did not take an outcome: its item fails',
    );
  }

  #lost(run: ShardRun): void {
    if (run.phase === 'closed') return;
    this.#options.stats.leasesLost += 1;
    this.#options.logger.warn(
      { shard: run.lease.shard_id, epoch: run.lease.epoch },
      'a lease was lost: its work is dropped',
    );
    this.#close(run);
  }

  /** Takes the shard's items out of the way. */
  #give(run: ShardRun, phase: 'closing' | 'doubtful'): void {
    const { dispatcher } = this.#options;
    run.phase = phase;
    run.reading.abort();
    dispatcher.dropWaiting(run);
    dispatcher.abortInFlight(run);
    dispatcher.fill();
  }

  async #settleAndRelease(run: ShardRun, reason: ReleaseReason): Promise<void> {
    await run.settler.flush();
    if (isClosed(run)) return;
    this.#close(run);
    const { server, clock, random } = this.#options;
    const { shard_id: shardId, epoch } = run.lease;
    for (let tries = 0; tries < RELEASE_TRIES; tries += 1) {
      try {
        await server.release(shardId, epoch, reason);
        return;
      } catch (error) {
        // Not given back in words, the lease ends at its time.
        if (error instanceof ServerError && !error.retryable) return;
        this.#trouble(error);
      }
      await sleep(clock, random() * 200 * 2 ** tries, new AbortController().signal);
    }
  }

  #close(run: ShardRun): void {
    if (run.phase === 'closed') return;
    this.#give(run, 'closing');
    run.phase = 'closed';
    run.settler.stop();
    for (const item of run.items) this.#options.memory.remember(run.lease.job_id, item.index, item.history);
    run.items.clear();
    if (this.#runs.get(run.lease.shard_id) === run) this.#runs.delete(run.lease.shard_id);
    this.#options.dispatcher.fill();
  }

  #trouble(error: unknown): void {
    this.#options.stats.settleTroubles += 1;
    if (this.#inTrouble) return;
    this.#inTrouble = true;
    const isRefused = error instanceof ServerError && (error.status === 401 || error.status === 403);
    this.#options.logger.warn(
      { reason: reasonOf(error) },
      isRefused
        ? "the control plane refuses the runner's API key: results are kept meanwhile"
        : 'the control plane cannot be reached: results are kept meanwhile',
    );
  }

  #recovered(): void {
    if (this.#inTrouble) this.#options.logger.info({}, 'the control plane answers again');
    this.#inTrouble = false;
  }
}

const isClosed = (run: ShardRun): boolean => run.phase === 'closed';
