import type { EndReason } from '@batch-infer/contracts';
import type { RunnerReport, SessionEvent } from '@batch-infer/contracts/runner-protocol';
import { Inject, Injectable } from '@nestjs/common';
import type { ControlPlaneConfig } from '../config.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { RunnerIdentity } from '../ports/runners.js';
import type { Signals } from '../ports/signals.js';
import type { Logger } from '../telemetry/logger.js';
import { CLOCK, CONFIG, LEDGER, LOGGER, SIGNALS } from '../tokens.js';
import { RunnerRegistry } from './runner-registry.js';

/** One runner's open stream. */
export interface Session {
  readonly runnerId: string;
  readonly identity: RunnerIdentity;
  send(event: SessionEvent): void;
  /** Ends the stream from our side. */
  close(): void;
  /** Whether its API key still holds. @throws when that cannot be told now */
  isAllowed(): Promise<boolean>;
}

const PING_INTERVAL_MS = 5_000;
/** A key that was revoked elsewhere is known within 4 s: its sessions end within 5. */
const KEY_INTERVAL_MS = 750;

/** A runner seen within this of its session's end may have been seen before it, by a request that was still on its way. */
const STRAGGLER_MS = 250;

/**
 * Who lives. A runner that dies takes its stream with it, so that its leases end within seconds instead of at their
 * time; one that only lost the stream shows itself again, here or at another control plane, by a session or a renewal.
 */
@Injectable()
export class RunnerSessions {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #config: ControlPlaneConfig;
  readonly #signals: Signals;
  readonly #logger: Logger;
  readonly #registry: RunnerRegistry;
  readonly #sessions = new Map<string, Session>();
  /** Sessions that have ended, also those that ended before they had quite begun. */
  readonly #over = new WeakSet<Session>();
  /** Runners whose session broke, each with its last chance. */
  readonly #missing = new Map<string, NodeJS.Timeout>();
  #pings: NodeJS.Timeout | null = null;
  #keyChecks: NodeJS.Timeout | null = null;
  #closed = false;
  readonly #onStopping = (jobId: string, reason: EndReason) => this.#sendStop(jobId, reason);
  readonly #onPaused = (jobId: string) => this.#sendStop(jobId, 'paused');

  constructor(
    @Inject(LEDGER) ledger: Ledger,
    @Inject(CLOCK) clock: Clock,
    @Inject(CONFIG) config: ControlPlaneConfig,
    @Inject(SIGNALS) signals: Signals,
    @Inject(LOGGER) logger: Logger,
    @Inject(RunnerRegistry) registry: RunnerRegistry,
  ) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.#config = config;
    this.#signals = signals;
    this.#logger = logger;
    this.#registry = registry;
  }

  /**
   * Begins: stops are pushed, pings sent, and the runners that the ledger remembers from before this process get one
   * chance to show themselves.
   */
  async start(): Promise<void> {
    this.#signals.on('job-stopping', this.#onStopping);
    this.#signals.on('job-paused', this.#onPaused);
    this.#pings = setInterval(() => {
      for (const session of this.#sessions.values()) session.send({ type: 'ping' });
    }, PING_INTERVAL_MS);
    this.#keyChecks = setInterval(() => {
      for (const session of this.#sessions.values()) this.#checkKey(session);
    }, KEY_INTERVAL_MS);
    const nowMs = this.#clock.nowMs();
    const graceMs = 2 * Math.max(this.#config.sessionGraceMs, this.#config.renewIntervalMs);
    for (const { report } of await this.#ledger.listRunners({ seenAfterMs: 0 })) {
      this.#expect(report.runner_id, nowMs, graceMs);
    }
  }

  /**
   * A runner's stream has begun. An older one of the same runner is ended: it must have broken unseen.
   * @throws DomainError as `RunnerRegistry.save`
   */
  async open(session: Session, report: RunnerReport): Promise<void> {
    await this.#registry.save(report, session.identity);
    if (this.#closed || this.#over.has(session)) {
      // It ended while it was written down: nobody would ever tell us again.
      session.close();
      if (!this.#closed) this.#expect(session.runnerId, this.#clock.nowMs(), this.#config.sessionGraceMs);
      return;
    }
    this.#forgive(session.runnerId);
    const older = this.#sessions.get(session.runnerId);
    this.#sessions.set(session.runnerId, session);
    older?.close();
    session.send({
      type: 'welcome',
      lease_ms: this.#config.leaseMs,
      renew_interval_ms: this.#config.renewIntervalMs,
      transport: this.#config.kafkaBrokers.length > 0 ? 'kafka' : 'direct',
    });
    this.#logger.info({ runnerId: session.runnerId, models: report.models }, 'runner connected');
    this.#signals.emit('runner-connected', report.models);
  }

  /** The stream has ended, from either side. */
  ended(session: Session): void {
    this.#over.add(session);
    if (this.#sessions.get(session.runnerId) !== session) return;
    this.#sessions.delete(session.runnerId);
    if (!this.#closed) this.#expect(session.runnerId, this.#clock.nowMs(), this.#config.sessionGraceMs);
  }

  get count(): number {
    return this.#sessions.size;
  }

  /** Ends all streams; the runners look for the next control plane, and nobody is taken for dead. */
  close(): void {
    this.#closed = true;
    this.#signals.off('job-stopping', this.#onStopping);
    this.#signals.off('job-paused', this.#onPaused);
    if (this.#pings) clearInterval(this.#pings);
    if (this.#keyChecks) clearInterval(this.#keyChecks);
    for (const timer of this.#missing.values()) clearTimeout(timer);
    this.#missing.clear();
    for (const session of this.#sessions.values()) session.close();
  }

  #checkKey(session: Session): void {
    session.isAllowed().then(
      (isAllowed) => {
        if (isAllowed || this.#over.has(session)) return;
        const { runnerId } = session;
        this.#logger.warn(
          { runnerId },
          "the runner's API key was revoked or has expired: its session is closed",
        );
        session.close();
      },
      // Nothing is known now: the next look tells.
      () => undefined,
    );
  }

  #sendStop(jobId: string, reason: EndReason | 'paused'): void {
    if (reason === 'completed') return;
    const stop: SessionEvent = { type: 'stop', job_ids: [jobId], reason };
    const limited = new Map<string, Session[]>();
    for (const session of this.#sessions.values()) {
      const { projectId } = session.identity;
      if (projectId === null) session.send(stop);
      else limited.set(projectId, [...(limited.get(projectId) ?? []), session]);
    }
    for (const [projectId, sessions] of limited) this.#sendToProject(jobId, projectId, sessions, stop);
  }

  /** Runners of one project hear of its jobs only. */
  #sendToProject(jobId: string, projectId: string, sessions: readonly Session[], stop: SessionEvent): void {
    this.#ledger.getJob({ projectId, id: jobId }).then(
      (job) => {
        if (job !== null) for (const session of sessions) if (!this.#over.has(session)) session.send(stop);
      },
      // The ledger is away: the next renewal tells.
      () => undefined,
    );
  }

  #expect(runnerId: string, sinceMs: number, graceMs: number): void {
    this.#forgive(runnerId);
    const judge = () => {
      this.#missing.delete(runnerId);
      const stragglersUntilMs = sinceMs + Math.min(STRAGGLER_MS, graceMs / 2);
      this.#judge(runnerId, stragglersUntilMs).catch((error: unknown) => {
        // The ledger is away, and with it the answer: ask once more instead of guessing.
        this.#logger.debug({ runnerId, error }, 'cannot tell whether the runner lives');
        if (!this.#closed) this.#expect(runnerId, sinceMs, graceMs);
      });
    };
    this.#missing.set(runnerId, setTimeout(judge, graceMs));
  }

  #forgive(runnerId: string): void {
    clearTimeout(this.#missing.get(runnerId));
    this.#missing.delete(runnerId);
  }

  async #judge(runnerId: string, seenAfterMs: number): Promise<void> {
    const seen = await this.#ledger.listRunners({ seenAfterMs });
    if (this.#sessions.has(runnerId) || seen.some(({ report }) => report.runner_id === runnerId)) return;
    const leases = await this.#ledger.expireRunner({ runnerId, nowMs: this.#clock.nowMs() });
    await this.#ledger.removeRunner({ runnerId });
    this.#logger.info({ runnerId, leases }, 'runner is gone');
    this.#signals.emit('runner-gone', runnerId);
    if (leases > 0) this.#signals.emit('leases-over');
  }
}
