import type { WaitingReason } from '@batch-infer/contracts/native';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { TransportHealth } from '@batch-infer/transport';
import type { QueuePosition } from '../ports/ledger.js';
import type { Budget, ProjectLimits } from '../ports/project-limits.js';
import type { JobRecord } from '../ports/records.js';

/** What is known about the world while a job waits. Times in milliseconds. */
export interface QueueFacts {
  readonly runners: readonly RunnerReport[];
  readonly transport: TransportHealth;
  readonly runningItems: number;
  /** `null` when nothing of the job waits. */
  readonly ahead: QueuePosition | null;
  /** The budget of its project for which it waits. */
  readonly budget?: { readonly budget: Budget; readonly limits: ProjectLimits } | null;
  /** Since when it could have begun, or last moved. */
  readonly idleMs: number;
  /** Usual time between two of its settles; `null` when none is known. */
  readonly settleIntervalMs: number | null;
}

/** A job that could run and does not move for so long is called stalled. */
export const STALLED_AFTER_MS = 60_000;
/** Or for so many times what is usual for it, when that is longer. */
const STALLED_AFTER_INTERVALS = 3;
const SHOWN_MODELS = 5;

/** Whether a job is held back. One that is about to end no longer is. */
export const isPaused = ({ state, pausedAtMs }: Pick<JobRecord, 'state' | 'pausedAtMs'>): boolean =>
  pausedAtMs !== null && (state === 'validating' || state === 'queued' || state === 'running');

/** Why a job that has not ended waits, most telling reason first; empty when it runs as it should. Pure. */
export function waitingReasons(job: JobRecord, facts: QueueFacts): WaitingReason[] {
  if (job.state === 'validating' && !isPaused(job))
    return [{ code: 'planning', message: 'The job is being planned.' }];
  if (job.state !== 'queued' && job.state !== 'running' && job.state !== 'validating') return [];
  if (isPaused(job)) {
    const going = facts.runningItems > 0 ? ' Items that run now are being given back.' : '';
    return [{ code: 'paused', message: `The job is paused; resume it to let it go on.${going}` }];
  }
  const reasons = [...transportReasons(facts), ...runnerReasons(job, facts)];
  if (reasons.length > 0) return reasons;
  const stalled = stalledReasons(facts);
  if (facts.runningItems > 0) return stalled;
  const turn = turnReasons(job, facts);
  return turn.length > 0 ? turn : stalled;
}

function transportReasons({ transport }: QueueFacts): WaitingReason[] {
  if (transport.state !== 'down') return [];
  const why = transport.reason ?? 'the transport is down';
  return [
    {
      code: 'transport_down',
      message: `Offers cannot reach the runners: ${why}. What runners hold already goes on.`,
    },
  ];
}

function runnerReasons(job: JobRecord, facts: QueueFacts): WaitingReason[] {
  const reasons: WaitingReason[] = [];
  const served = new Set(facts.runners.flatMap(({ models }) => models));
  const missing = job.models.filter((model) => !served.has(model));
  if (missing.length > 0) reasons.push(noRunner(missing, served));
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
  return reasons;
}

/** Nothing is wrong: it is somebody else's turn. */
function turnReasons(job: JobRecord, { runners, ahead, budget }: QueueFacts): WaitingReason[] {
  if (ahead === null) return [];
  if (budget) return [{ code: 'waiting_for_turn', message: budgetMessage(budget) }];
  const { jobsAhead, itemsAhead, otherProjects, heldItems, maxRunningItems } = ahead;
  if (maxRunningItems !== null && heldItems > 0 && heldItems >= maxRunningItems) {
    return [
      {
        code: 'waiting_for_turn',
        message: `The project runs ${heldItems} items, and at most ${maxRunningItems} at a time.`,
      },
    ];
  }
  const freeSlots = runners
    .filter(({ models }) => models.some((model) => job.models.includes(model)))
    .reduce((sum, { free_slots }) => sum + free_slots, 0);
  const code = freeSlots > 0 ? 'waiting_for_turn' : 'runners_busy';
  const sharing =
    otherProjects === 0 ? '' : ` The runners are shared with ${count(otherProjects, 'other project')}.`;
  if (jobsAhead > 0) {
    const verb = jobsAhead === 1 ? 'is' : 'are';
    const message = `${count(jobsAhead, 'job')} with ${count(itemsAhead, 'waiting item')} ${verb} ahead.${sharing}`;
    return [{ code, message }];
  }
  if (freeSlots === 0)
    return [{ code, message: `Every runner that serves the job is busy; it is next.${sharing}` }];
  return otherProjects === 0 ? [] : [{ code, message: `It is next.${sharing}` }];
}

function budgetMessage({ budget, limits }: NonNullable<QueueFacts['budget']>): string {
  return budget === 'running_jobs'
    ? `The project runs as many jobs as it may: ${limits.maxRunningJobs} at a time.`
    : `The jobs that run take what the project may have queued: ${limits.maxQueuedTokens} tokens at a time.`;
}

function stalledReasons({ idleMs, settleIntervalMs, runningItems }: QueueFacts): WaitingReason[] {
  const usualMs = settleIntervalMs ?? 0;
  if (idleMs <= Math.max(STALLED_AFTER_MS, STALLED_AFTER_INTERVALS * usualMs)) return [];
  const seconds = Math.round(idleMs / 1_000);
  const usual = settleIntervalMs === null ? '' : ` (usual: every ${formatSeconds(usualMs)})`;
  const message =
    runningItems > 0
      ? `${count(runningItems, 'item')} ${runningItems === 1 ? 'is' : 'are'} at engines, but none has ended for ${seconds} seconds${usual}. Look at the engines and at the logs of the runners.`
      : `Runners have room, but nothing has moved for ${seconds} seconds. Look at the logs of the runners and of the control plane.`;
  return [{ code: 'stalled', message }];
}

const formatSeconds = (durationMs: number): string =>
  durationMs < 10_000
    ? `${(durationMs / 1_000).toFixed(1)} seconds`
    : `${Math.round(durationMs / 1_000)} seconds`;

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

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
