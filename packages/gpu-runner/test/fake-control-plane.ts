import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  decodeSegment,
  emptyMask,
  hasBit,
  type Mask,
  maskToBase64,
  newId,
  type Priority,
  type SegmentHeader,
  setBit,
} from '@batch-infer/contracts';
import type { Lease, Offer, RunnerReport, SessionEvent } from '@batch-infer/contracts/runner-protocol';

/** A job of a test: its lines as JSON texts. */
export interface FakeJob {
  readonly lines: readonly string[];
  readonly model?: string;
  readonly priority?: Priority;
  readonly shardItems?: number;
  readonly itemTimeoutMs?: number;
  readonly maxAttempts?: number;
  readonly remainingMs?: number;
  readonly endpoint?: string | null;
  readonly defaultModel?: string | null;
  readonly defaults?: Record<string, unknown> | null;
  readonly reuse?: boolean;
}

export interface FakeResult {
  readonly header: SegmentHeader;
  readonly body: string;
}

interface FakeShard {
  readonly id: string;
  readonly jobId: string;
  readonly job: FakeJob;
  readonly first: number;
  readonly count: number;
  readonly text: string;
  readonly done: Mask;
  epoch: number;
  state: 'ready' | 'leased' | 'done' | 'stopped';
  offeredAtMs: number;
}

type Reply = readonly [status: number, content: object | string];
/** Instead of a status: the connection is closed without an answer. */
const CUT = 0;

interface Settled {
  readonly shardId: string;
  readonly epoch: number;
  readonly lines: number;
}

/** The runner protocol of the control plane, in memory, with the rules that a runner must be held to. */
export class FakeControlPlane {
  readonly results = new Map<string, Map<number, FakeResult>>();
  readonly settles: Settled[] = [];
  readonly releases: { readonly shardId: string; readonly reason: string }[] = [];
  readonly fenced: string[] = [];
  readonly reports: RunnerReport[] = [];
  claims = 0;
  leaseMs = 30_000;
  renewIntervalMs = 1_000;
  transport: 'direct' | 'kafka' = 'direct';
  /** While set, every call but the session is answered with this status. */
  outage: number | null = null;
  /** Cuts the connection instead of answering the next so many settles, after doing them. */
  loseSettleAnswers = 0;
  readonly #shards = new Map<string, FakeShard>();
  readonly #sessions = new Set<ServerResponse>();
  readonly #polls = new Set<() => void>();
  readonly #stopped = new Set<string>();
  readonly #server: Server;
  #url = '';

  constructor() {
    this.#server = createServer((request, response) => {
      this.#route(request, response).catch(() => response.destroy());
    });
  }

  get url(): string {
    return this.#url;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  addJob(job: FakeJob): string {
    const jobId = newId('job');
    const size = job.shardItems ?? 256;
    this.results.set(jobId, new Map());
    for (let first = 0; first < job.lines.length; first += size) {
      const lines = job.lines.slice(first, first + size);
      const id = newId('shard');
      this.#shards.set(id, {
        ...{ id, jobId, job, first, count: lines.length, text: `${lines.join('\n')}\n` },
        ...{ done: emptyMask(), epoch: 0, state: 'ready', offeredAtMs: 0 },
      });
    }
    this.#wake();
    return jobId;
  }

  stop(jobId: string): void {
    this.#stopped.add(jobId);
    this.#send({ type: 'stop', job_ids: [jobId], reason: 'cancelled' });
  }

  /** Breaks every session, as a control plane that restarts. */
  cutSessions(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Ends a lease behind the runner's back, as the sweeper does. */
  expire(jobId: string): void {
    for (const shard of this.#shards.values()) {
      if (shard.jobId !== jobId || shard.state !== 'leased') continue;
      shard.epoch += 1;
      shard.state = 'ready';
      shard.offeredAtMs = 0;
    }
    this.#wake();
  }

  /** The job's results in index order. */
  resultsOf(jobId: string): FakeResult[] {
    const results = this.results.get(jobId) ?? new Map<number, FakeResult>();
    return [...results].sort(([left], [right]) => left - right).map(([, result]) => result);
  }

  ended(jobId: string): number {
    return this.results.get(jobId)?.size ?? 0;
  }

  leased(jobId: string): number {
    return [...this.#shards.values()].filter((shard) => shard.jobId === jobId && shard.state === 'leased')
      .length;
  }

  #send(event: SessionEvent): void {
    for (const session of this.#sessions) session.write(`${JSON.stringify(event)}\n`);
  }

  #wake(): void {
    for (const wake of [...this.#polls]) wake();
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const body = (await readBody(request)).toString();
    if (url.pathname === '/v1/runner/session') this.#session(JSON.parse(body), response);
    else {
      const [status, content] = await this.#answer(url, body, response);
      if (status === CUT) response.destroy();
      else if (typeof content === 'string') response.writeHead(status).end(content);
      else response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
    }
  }

  async #answer(url: URL, body: string, response: ServerResponse): Promise<Reply> {
    if (this.outage !== null) return [this.outage, { code: 'unavailable', detail: 'away' }];
    const epoch = Number(url.searchParams.get('epoch'));
    const [, shardId = '', action = ''] =
      /^\/v1\/runner\/shards\/([^/]+)\/([a-z]+)$/.exec(url.pathname) ?? [];
    switch (action === '' ? url.pathname : action) {
      case '/v1/runner/offers':
        return this.#offers(JSON.parse(body), response);
      case '/v1/runner/claim':
        return this.#claim(JSON.parse(body));
      case '/v1/runner/renew':
        return this.#renew(JSON.parse(body));
      case 'lines':
        return this.#lines(shardId, epoch);
      case 'settle':
        return this.#settle(shardId, epoch, Buffer.from(body));
      case 'release':
        return this.#release(shardId, JSON.parse(body));
      default:
        return [404, { code: 'not_found' }];
    }
  }

  #session(report: RunnerReport, response: ServerResponse): void {
    this.reports.push(report);
    this.#sessions.add(response);
    response.on('close', () => this.#sessions.delete(response));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const welcome: SessionEvent = {
      type: 'welcome',
      lease_ms: this.leaseMs,
      renew_interval_ms: this.renewIntervalMs,
      transport: this.transport,
    };
    response.write(`${JSON.stringify(welcome)}\n`);
  }

  async #offers(
    poll: { models: string[]; max: number; wait_ms: number },
    response: ServerResponse,
  ): Promise<Reply> {
    const take = (): Offer[] => {
      const ready = [...this.#shards.values()].filter(
        (shard) => shard.state === 'ready' && offerable(shard) && poll.models.includes(modelOf(shard.job)),
      );
      return ready.slice(0, poll.max).map((shard) => offerOf(shard));
    };
    let offers = take();
    if (offers.length === 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, Math.min(poll.wait_ms, 1_000));
      this.#polls.add(resolve);
      response.on('close', resolve);
      await promise;
      clearTimeout(timer);
      this.#polls.delete(resolve);
      if (response.destroyed) return [CUT, {}];
      offers = take();
    }
    for (const { shard_id } of offers) {
      const shard = this.#shards.get(shard_id);
      if (shard !== undefined) shard.offeredAtMs = performance.now();
    }
    return [200, { offers }];
  }

  #claim(claim: { shard_id: string; epoch: number }): Reply {
    const shard = this.#shards.get(claim.shard_id);
    if (shard === undefined) return [200, { outcome: 'refused', reason: 'unknown' }];
    if (shard.state !== 'ready' || shard.epoch !== claim.epoch) {
      return [200, { outcome: 'refused', reason: 'stale' }];
    }
    this.claims += 1;
    shard.epoch += 1;
    shard.state = 'leased';
    const { job } = shard;
    const lease: Lease = {
      ...{ shard_id: shard.id, epoch: shard.epoch, job_id: shard.jobId, model: modelOf(job) },
      ...{
        priority: job.priority ?? 'normal',
        lease_ms: this.leaseMs,
        remaining_ms: job.remainingMs ?? 3_600_000,
      },
      ...{ first_index: shard.first, count: shard.count, skip: 0, done_mask: maskToBase64(shard.done) },
      ...{ lost_leases: 0, bytes: shard.text.length, endpoint: job.endpoint ?? '/v1/chat/completions' },
      ...{ default_model: job.defaultModel ?? null, defaults: job.defaults ?? null },
      ...(job.reuse === true ? { reuse: true } : {}),
      ...{ item_timeout_ms: job.itemTimeoutMs ?? 60_000, max_attempts: job.maxAttempts ?? 3 },
    };
    return [200, { outcome: 'claimed', lease }];
  }

  #renew(renewal: RunnerReport & { leases: { shard_id: string; epoch: number }[] }): Reply {
    this.reports.push(renewal);
    const leases = renewal.leases.map(({ shard_id, epoch }) => {
      const held = this.#held(shard_id, epoch);
      const status = held === null ? 'lost' : this.#stopped.has(held.jobId) ? 'stop' : 'held';
      return { shard_id, epoch, status, lease_ms: this.leaseMs };
    });
    return [200, { leases }];
  }

  #lines(shardId: string, epoch: number): Reply {
    const shard = this.#held(shardId, epoch);
    if (shard === null) return [409, { code: 'lease_lost' }];
    return [200, shard.text];
  }

  #settle(shardId: string, epoch: number, segment: Buffer): Reply {
    const shard = this.#held(shardId, epoch) ?? this.#doneUnder(shardId, epoch);
    if (shard === null) {
      this.fenced.push(shardId);
      return [409, { code: 'lease_lost' }];
    }
    let accepted = 0;
    let repeated = 0;
    for (const { header, body } of decodeSegment(segment)) {
      const position = header.i - shard.first;
      if (hasBit(shard.done, position)) {
        repeated += 1;
        continue;
      }
      accepted += 1;
      setBit(shard.done, position);
      this.results.get(shard.jobId)?.set(header.i, { header, body: Buffer.from(body).toString() });
    }
    this.settles.push({ shardId, epoch, lines: accepted + repeated });
    const all = Array.from({ length: shard.count }, (_, position) => hasBit(shard.done, position)).every(
      Boolean,
    );
    if (all) shard.state = 'done';
    if (this.loseSettleAnswers > 0) {
      this.loseSettleAnswers -= 1;
      return [CUT, {}];
    }
    return [200, { accepted, repeated, shard_done: all, stop: this.#stopped.has(shard.jobId) }];
  }

  #release(shardId: string, release: { epoch: number; reason: string }): Reply {
    const shard = this.#held(shardId, release.epoch);
    if (shard !== null) {
      shard.state = this.#stopped.has(shard.jobId) ? 'stopped' : 'ready';
      shard.offeredAtMs = 0;
      this.releases.push({ shardId, reason: release.reason });
      this.#wake();
    }
    return [200, { released: shard !== null }];
  }

  #held(shardId: string, epoch: number): FakeShard | null {
    const shard = this.#shards.get(shardId);
    return shard?.state === 'leased' && shard.epoch === epoch ? shard : null;
  }

  #doneUnder(shardId: string, epoch: number): FakeShard | null {
    const shard = this.#shards.get(shardId);
    return shard?.state === 'done' && shard.epoch === epoch ? shard : null;
  }
}

const modelOf = (job: FakeJob): string => job.model ?? 'sim-model';

/** Offers get lost: a shard that nobody claimed is offered again. */
const offerable = (shard: FakeShard): boolean =>
  shard.offeredAtMs === 0 || performance.now() - shard.offeredAtMs > 1_000;

const offerOf = (shard: FakeShard): Offer => ({
  ...{
    shard_id: shard.id,
    epoch: shard.epoch,
    lane: `normal/${modelOf(shard.job)}`,
    model: modelOf(shard.job),
  },
  ...{ priority: 'normal', items: shard.count, job_id: shard.jobId, offered_at_ms: Date.now() },
});

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}
