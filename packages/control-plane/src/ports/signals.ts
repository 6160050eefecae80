import { EventEmitter } from 'node:events';
import type { EndReason, JobState } from '@batch-infer/contracts';

/**
 * Hints that save a wait: "look now" instead of at the next tick. Never needed for correctness: every listener also ticks
 * by itself. A signal reaches its own process; on PostgreSQL some are carried to the others (`SignalRelay`).
 */
export interface SignalMap {
  /** Something a reader of this job could see has changed. */
  'job-changed': [jobId: string];
  /** A job was accepted: for the metrics. */
  'job-accepted': [dialect: string];
  /** A job has reached its end: for the metrics. */
  'job-ended': [state: JobState];
  /** A job took over so many answers of earlier ones: for the metrics. */
  'items-reused': [count: number];
  /** A job waits for its planner. */
  'job-unplanned': [jobId: string];
  /** There are ready shards. */
  'work-ready': [];
  /** Somebody asked for this shard: its offer is no longer outstanding. */
  'shard-claimed': [shardId: string];
  /** This process is about to end: long polls answer now with what they have. */
  draining: [];
  /** A runner that serves these models has shown itself. */
  'runner-connected': [models: readonly string[]];
  /** A runner was taken for dead: offers that it was given will not be claimed. */
  'runner-gone': [runnerId: string];
  /** Leases have come to their end before their time: for the sweeper. */
  'leases-over': [];
  /** A lease of a job that is being stopped was given back, perhaps the last: for the finalizer. */
  'stopped-released': [];
  /** The job is being stopped: tell the runners. */
  'job-stopping': [jobId: string, reason: EndReason];
  /** An event waits for its receiver. */
  'webhook-due': [];
  /** The job is held back: runners give its leases back. */
  'job-paused': [jobId: string];
  /** The job waits for the finalizer. */
  'job-finalizing': [jobId: string];
}

const MAX_LISTENERS = 50;

export class Signals extends EventEmitter<SignalMap> {
  constructor() {
    super();
    // Every part of the process listens once; requests that wait share a listener (`JobWatch`).
    this.setMaxListeners(MAX_LISTENERS);
  }
}
