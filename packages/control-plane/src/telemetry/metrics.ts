import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What `/metrics` shows. Label values come from closed sets or from model names, never from requests' contents. */
export class Metrics {
  readonly registry = new Registry();

  readonly jobsAccepted = new Counter({
    name: 'batch_infer_jobs_accepted_total',
    help: 'Jobs accepted, by the dialect they came in.',
    labelNames: ['dialect'],
    registers: [this.registry],
  });
  readonly jobsEnded = new Counter({
    name: 'batch_infer_jobs_ended_total',
    help: 'Jobs that reached their end, by terminal state.',
    labelNames: ['state'],
    registers: [this.registry],
  });
  readonly itemsEnded = new Counter({
    name: 'batch_infer_items_ended_total',
    help: 'Items settled by runners, by outcome.',
    labelNames: ['status'],
    registers: [this.registry],
  });
  readonly itemsReused = new Counter({
    name: 'batch_infer_items_reused_total',
    help: 'Items that took over the answer of an earlier job, and did not run.',
    registers: [this.registry],
  });
  readonly settleSeconds = new Histogram({
    name: 'batch_infer_settle_duration_seconds',
    help: 'Time from a whole segment to its commit: the object and the transaction.',
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
    registers: [this.registry],
  });
  readonly settledBytes = new Counter({
    name: 'batch_infer_settled_bytes_total',
    help: 'Bytes of the segments that were kept.',
    registers: [this.registry],
  });
  readonly refusedLines = new Counter({
    name: 'batch_infer_refused_lines_total',
    help: 'Outcomes that were not taken as their runner wrote them: their items fail.',
    registers: [this.registry],
  });
  readonly claims = new Counter({
    name: 'batch_infer_claims_total',
    help: 'Claims by outcome: claimed, stale, ended, unknown, busy; failed: for a reason of its own.',
    labelNames: ['outcome'],
    registers: [this.registry],
  });
  readonly leasesLost = new Counter({
    name: 'batch_infer_leases_lost_total',
    help: 'Leases that ended without a word of their runner.',
    registers: [this.registry],
  });
  readonly offersPublished = new Counter({
    name: 'batch_infer_offers_published_total',
    help: 'Offers handed to the transport, repeated ones among them.',
    registers: [this.registry],
  });
  readonly laneFailures = new Counter({
    name: 'batch_infer_transport_lane_failures_total',
    help: 'Offers of one lane that the transport did not take in time; each lane of a publish counts for itself.',
    registers: [this.registry],
  });
  readonly offersOutstanding = new Gauge({
    name: 'batch_infer_offers_outstanding',
    help: 'Offers published and not yet claimed, by lane.',
    labelNames: ['model', 'priority'],
    registers: [this.registry],
  });
  readonly shards = new Gauge({
    name: 'batch_infer_shards',
    help: 'Shards of jobs that have not ended, by lane and state: ready, leased, and those kept back by a pause or a budget. Models that no runner serves are "other".',
    labelNames: ['model', 'priority', 'state'],
    registers: [this.registry],
  });
  readonly jobs = new Gauge({
    name: 'batch_infer_jobs',
    help: 'Jobs that have not ended, by state.',
    labelNames: ['state'],
    registers: [this.registry],
  });
  readonly jobsWaiting = new Gauge({
    name: 'batch_infer_jobs_waiting',
    help: 'Jobs that wait, by reason; one with several reasons counts for each. All that are paused or wait for a budget; of the others those that have not gone on for ten seconds, some of each project.',
    labelNames: ['reason'],
    registers: [this.registry],
  });
  readonly jobsOldestWaiting = new Gauge({
    name: 'batch_infer_job_oldest_waiting_seconds',
    help: 'For how long the job that waits longest for this reason does; 0 when none waits.',
    labelNames: ['reason'],
    registers: [this.registry],
  });
  readonly modelRunners = new Gauge({
    name: 'batch_infer_model_runners',
    help: 'Live runners that serve the model; 0 for some models that have work and no runner.',
    labelNames: ['model'],
    registers: [this.registry],
  });
  readonly jobsStalled = new Gauge({
    name: 'batch_infer_job_stalled',
    help: 'Jobs that something keeps from going on: no item has ended for a minute and for three times as long as is usual, or planning or finalizing fails or takes five minutes.',
    registers: [this.registry],
  });
  readonly ledgerUp = new Gauge({
    name: 'batch_infer_ledger_up',
    help: 'Whether the ledger answered when these metrics were read.',
    registers: [this.registry],
  });
  readonly runners = new Gauge({
    name: 'batch_infer_runners',
    help: 'Runners seen within the length of a lease.',
    registers: [this.registry],
  });
  readonly itemsInFlight = new Gauge({
    name: 'batch_infer_items_in_flight',
    help: 'Items at engines, as the runners report them.',
    registers: [this.registry],
  });

  readonly requestsRefused = new Counter({
    name: 'batch_infer_requests_refused_total',
    help: 'Requests refused for their API key, auth (none, unknown, revoked or expired) or scope; without keys, for what a web page could send, host or origin.',
    labelNames: ['reason'],
    registers: [this.registry],
  });
  readonly loopLastSuccess = new Gauge({
    name: 'batch_infer_loop_last_success_timestamp_seconds',
    help: 'When a tick of the loop last succeeded; at first, when the loop began.',
    labelNames: ['loop'],
    registers: [this.registry],
  });
  readonly loopFailures = new Counter({
    name: 'batch_infer_loop_failures_total',
    help: 'Ticks of the loop that failed, or hung and were left behind.',
    labelNames: ['loop'],
    registers: [this.registry],
  });

  /** Both series of a loop, from its beginning; the returned function hears how each tick ended. */
  watchLoop(loop: string): (outcome: 'succeeded' | 'failed') => void {
    this.loopLastSuccess.setToCurrentTime({ loop });
    this.loopFailures.inc({ loop }, 0);
    return (outcome) => {
      if (outcome === 'succeeded') this.loopLastSuccess.setToCurrentTime({ loop });
      else this.loopFailures.inc({ loop });
    };
  }

  constructor() {
    for (const reason of ['auth', 'scope', 'host', 'origin']) this.requestsRefused.inc({ reason }, 0);
  }

  /** Adds the process's own figures (event loop, memory, collections): once for a process. */
  collectProcessMetrics(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }
}
