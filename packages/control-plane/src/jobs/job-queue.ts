import type { WaitingReason } from '@batch-infer/contracts/native';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { TransportHealth } from '@batch-infer/transport';
import type { JobRecord } from '../ports/records.js';

/** What is known about the world while a job waits. */
export interface QueueFacts {
  readonly runners: readonly RunnerReport[];
  readonly transport: TransportHealth;
  readonly runningItems: number;
  /** `null` when the job has no ready shard. */
  readonly ahead: { readonly jobsAhead: number; readonly itemsAhead: number } | null;
  /** Items settled lately. */
  readonly recentItems: number;
  /** Milliseconds since the job could have begun or last moved. */
  readonly idleMs: number;
}

/** A job that could run and does not move for so long is called stalled. */
const STALLED_AFTER_MS = 60_000;
const SHOWN_MODELS = 5;

/** Whether a job is held back. One that is about to end no longer is. */
export const isPaused = ({ state, pausedAtMs }: Pick<JobRecord, 'state' | 'pausedAtMs'>): boolean =>
  pausedAtMs !== null && (state === 'validating' || state === 'queued' || state === 'running');

/** Why a job that has not ended waits, most telling reason first; empty when it runs as it should. Pure. */
export function waitingReasons(job: JobRecord, facts: QueueFacts): WaitingReason[] {
  if (job.state === 'validating' && !isPaused(job)) return [{ code: 'planning', message: 'The job is being planned.' }];
  if (job.state !== 'queued' && job.state !== 'running' && job.state !== 'validating') return [];
  if (isPaused(job)) {
    const going = facts.runningItems > 0 ? ' Items that run now are being given back.' : '';
    return [{ code: 'paused', message: `The job is paused; resume it to let it go on.${going}` }];
  }
  const reasons: WaitingReason[] = [];
  const served = new Set(facts.runners.flatMap(({ models }) => models));
  const missing = job.models.filter((model) => !served.has(model));
  if (missing.length > 0) reasons.push(noRunner(missing, served));
  if (missing.length === job.models.length) return reasons;
  if (facts.transport.state === 'down') {
    reasons.push({
      code: 'transport_down',
      message: `Offers cannot reach the runners: ${facts.transport.reason ?? 'the transport is down'}.`,
    });
  }
  const engines = facts.runners
    .flatMap(({ engines }) => engines)
    .filter(({ models }) => models.some((model) => job.models.includes(model)));
  if (engines.length > 0 && engines.every(({ healthy }) => !healthy)) {
    const problem = engines.find((engine) => engine.problem !== null)?.problem ?? 'no engine answers';
    reasons.push({
      code: 'engine_unavailable',
      message: `The engines that serve the job take no work now: ${problem}.`,
    });
  }
  if (reasons.length > 0 || facts.runningItems > 0 || facts.recentItems > 0) return reasons;
  const freeSlots = facts.runners
    .filter(({ models }) => models.some((model) => job.models.includes(model)))
    .reduce((sum, { free_slots }) => sum + free_slots, 0);
  if (facts.ahead !== null && facts.ahead.jobsAhead > 0) {
    const { jobsAhead, itemsAhead } = facts.ahead;
    return [
      {
        code: freeSlots > 0 ? 'waiting_for_turn' : 'runners_busy',
        message: `${jobsAhead} ${jobsAhead === 1 ? 'job' : 'jobs'} with ${itemsAhead} waiting items ${jobsAhead === 1 ? 'is' : 'are'} ahead.`,
      },
    ];
  }
  if (freeSlots === 0)
    return [{ code: 'runners_busy', message: 'Every runner that serves the job is busy; it is next.' }];
  if (facts.idleMs < STALLED_AFTER_MS) return [];
  return [
    {
      code: 'stalled',
      message: `Runners have room, but nothing has moved for ${Math.round(facts.idleMs / 1_000)} seconds. Look at the logs of the runners and of the control plane.`,
    },
  ];
}

function noRunner(missing: readonly string[], served: ReadonlySet<string>): WaitingReason {
  const now = served.size === 0 ? 'No runner is connected.' : `Served now: ${names([...served].sort())}.`;
  return {
    code: 'no_runner_for_model',
    message: `No runner serves ${names(missing)}. ${now} Start one next to an engine that serves it: batch-infer runner --server <this server> --engine-url <engine>.`,
  };
}

function names(models: readonly string[]): string {
  const shown = models
    .slice(0, SHOWN_MODELS)
    .map((model) => `"${model}"`)
    .join(', ');
  return models.length > SHOWN_MODELS ? `${shown} and ${models.length - SHOWN_MODELS} more` : shown;
}
