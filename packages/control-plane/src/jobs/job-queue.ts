import type { WaitingReason } from '@batch-infer/contracts/native';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { LaneProblem, TransportHealth } from '@batch-infer/transport';
import type { QueuePosition } from '../ports/ledger.js';
import type { Budget, ProjectLimits } from '../ports/project-limits.js';
import type { JobRecord } from '../ports/records.js';

/** What is known about the world while a job waits. Times in milliseconds. */
export interface QueueFacts {
  readonly nowMs: number;
  readonly runners: readonly RunnerReport[];
  readonly transport: TransportHealth;
  /** Lanes that took no offers when they were last tried. */
  readonly lanes: readonly Pick<LaneProblem, 'model' | 'reason' | 'sinceMs'>[];
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

type WaitingJob = Pick<
  JobRecord,
  'state' | 'models' | 'pausedAtMs' | 'problem' | 'createdAtMs' | 'cancellingAtMs' | 'finalizingAtMs'
>;

/** A job that could run and does not move for so long is called stalled. */
const STALLED_AFTER_MS = 60_000;
/** Or for so many times what is usual for it, when that is longer. */
const STALLED_AFTER_INTERVALS = 3;
const SHOWN_MODELS = 5;

/** Whether a job is held back. One that is about to end no longer is. */
export const isPaused = ({ state, pausedAtMs }: Pick<JobRecord, 'state' | 'pausedAtMs'>): boolean =>
  pausedAtMs !== null && (state === 'validating' || state === 'queued' || state === 'running');

/**
 * Why a job that has not ended waits, most telling reason first; empty when it runs as it should. A job that something
 * keeps from moving is `stalled` as well, after a minute. Pure.
 */
export function waitingReasons(job: WaitingJob, facts: QueueFacts): WaitingReason[] {
  if (isPaused(job)) {
    const going = facts.runningItems > 0 ? ' Items that run now are being given back.' : '';
    const message = `The job is paused; resume it to let it go on.${going}`;
    return [reason('paused', message, job.pausedAtMs)];
  }
  switch (job.state) {
    case 'validating':
      return planReasons(job);
    case 'cancelling':
      return [
        ...problemReasons(job),
        reason(
          'stopping',
          'The job is being stopped: it waits for the last results of what runs.',
          job.cancellingAtMs,
        ),
      ];
    case 'finalizing': {
      const problems = problemReasons(job);
      if (problems.length > 0) return problems;
      return [reason('finalizing', 'Every item has ended; the files are being written.', job.finalizingAtMs)];
    }
    case 'queued':
    case 'running':
      return queueReasons(job, facts);
    default:
      return [];
  }
}

function planReasons(job: WaitingJob): WaitingReason[] {
  const problems = problemReasons(job);
  return problems.length > 0 ? problems : [reason('planning', 'The job is being planned.', job.createdAtMs)];
}

function problemReasons({ problem }: WaitingJob): WaitingReason[] {
  if (problem === null) return [];
  const { code, message, tries, sinceMs } = problem;
  const what = code === 'plan_failed' ? 'Planning the job' : 'Writing the files of the job';
  const often = tries === 1 ? 'once' : `${tries} times`;
  return [reason(code, `${what} failed ${often}: ${message}. It is tried again.`, sinceMs)];
}

function queueReasons(job: WaitingJob, facts: QueueFacts): WaitingReason[] {
  const stalled = stalledReasons(facts);
  const hindrances = [...transportReasons(job, facts), ...runnerReasons(job, facts)];
  if (hindrances.length > 0) return [...hindrances, ...stalled];
  if (facts.runningItems > 0) return stalled;
  const turn = turnReasons(job, facts);
  return turn.length > 0 ? turn : stalled;
}

const reason = (code: WaitingReason['code'], message: string, sinceMs: number | null): WaitingReason => ({
  code,
  message,
  ...(sinceMs === null ? {} : { since: new Date(sinceMs).toISOString() }),
});

const idleSince = ({ nowMs, idleMs }: QueueFacts): number => nowMs - idleMs;

function transportReasons(job: WaitingJob, facts: QueueFacts): WaitingReason[] {
  const { transport, lanes } = facts;
  if (transport.state === 'down') {
    const why = transport.reason ?? 'the transport is down';
    const message = `Offers cannot reach the runners: ${why}. What runners hold already goes on.`;
    return [reason('transport_down', message, idleSince(facts))];
  }
  const lane = lanes.find(({ model }) => job.models.includes(model));
  if (lane === undefined) return [];
  const message = `Offers for "${lane.model}" cannot reach the runners: ${lane.reason}. They are tried again; other models go on.`;
  return [reason('transport_down', message, lane.sinceMs)];
}

/** Words of engines about themselves that are shown together. */
const SHOWN_PROBLEMS = 3;

function runnerReasons(job: WaitingJob, facts: QueueFacts): WaitingReason[] {
  const reasons: WaitingReason[] = [];
  const served = new Set(facts.runners.flatMap(({ models }) => models));
  const missing = job.models.filter((model) => !served.has(model));
  if (missing.length > 0)
    reasons.push(reason('no_runner_for_model', noRunner(missing, served), idleSince(facts)));
  const engines = facts.runners
    .flatMap((runner) => runner.engines)
    .filter(({ models }) => models.some((model) => job.models.includes(model)));
  if (engines.length > 0 && engines.every(takesNothing)) {
    const told = [...new Set(engines.flatMap(({ problem }) => problem ?? []))];
    const problems = told.length === 0 ? 'no engine answers' : told.slice(0, SHOWN_PROBLEMS).join('; ');
    const message = `The engines that serve the job take no work now: ${problems}.`;
    reasons.push(reason('engine_unavailable', message, idleSince(facts)));
  }
  return reasons;
}

/** An engine that is down, or that says what keeps it and has nothing in hand. */
const takesNothing = ({ healthy, problem, in_flight: inFlight }: RunnerReport['engines'][number]): boolean =>
  !healthy || (problem !== null && inFlight === 0);

/** Nothing is wrong: it is somebody else's turn. */
function turnReasons(job: WaitingJob, facts: QueueFacts): WaitingReason[] {
  const { runners, ahead, budget } = facts;
  const sinceMs = idleSince(facts);
  if (ahead === null) return [];
  if (budget) return [reason('budget', budgetMessage(budget), sinceMs)];
  const { jobsAhead, itemsAhead, otherProjects, heldItems, maxRunningItems } = ahead;
  if (maxRunningItems !== null && heldItems > 0 && heldItems >= maxRunningItems) {
    const message = `The project runs ${heldItems} items, and at most ${maxRunningItems} at a time.`;
    return [reason('waiting_for_turn', message, sinceMs)];
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
    return [reason(code, message, sinceMs)];
  }
  if (freeSlots === 0)
    return [reason(code, `Every runner that serves the job is busy; it is next.${sharing}`, sinceMs)];
  return otherProjects === 0 ? [] : [reason(code, `It is next.${sharing}`, sinceMs)];
}

function budgetMessage({ budget, limits }: NonNullable<QueueFacts['budget']>): string {
  return budget === 'running_jobs'
    ? `The project runs as many jobs as it may: ${limits.maxRunningJobs} at a time.`
    : `The jobs that run take what the project may have queued: ${limits.maxQueuedTokens} tokens at a time.`;
}

function stalledReasons(facts: QueueFacts): WaitingReason[] {
  const { idleMs, settleIntervalMs, runningItems } = facts;
  const usualMs = settleIntervalMs ?? 0;
  if (idleMs <= Math.max(STALLED_AFTER_MS, STALLED_AFTER_INTERVALS * usualMs)) return [];
  const seconds = Math.round(idleMs / 1_000);
  const usual = settleIntervalMs === null ? '' : ` (usual: every ${formatSeconds(usualMs)})`;
  const message =
    runningItems > 0
      ? `${count(runningItems, 'item')} ${runningItems === 1 ? 'is' : 'are'} at engines, but none has ended for ${seconds} seconds${usual}. Look at the engines and at the logs of the runners.`
      : `Nothing of the job has moved for ${seconds} seconds. Look at the logs of the runners and of the control plane.`;
  return [reason('stalled', message, idleSince(facts))];
}

const formatSeconds = (durationMs: number): string =>
  durationMs < 10_000
    ? `${(durationMs / 1_000).toFixed(1)} seconds`
    : `${Math.round(durationMs / 1_000)} seconds`;

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

function noRunner(missing: readonly string[], served: ReadonlySet<string>): string {
  const now = served.size === 0 ? 'No runner is connected.' : `Served now: ${names([...served].sort())}.`;
  return `No runner serves ${names(missing)}. ${now} Start one next to an engine that serves it: batch-infer runner --server <this server> --engine-url <engine>.`;
}

function names(models: readonly string[]): string {
  const shown = models
    .slice(0, SHOWN_MODELS)
    .map((model) => `"${model}"`)
    .join(', ');
  return models.length > SHOWN_MODELS ? `${shown} and ${models.length - SHOWN_MODELS} more` : shown;
}
