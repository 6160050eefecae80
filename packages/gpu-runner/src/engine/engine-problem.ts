import type { Health } from './health-route.js';
import type { Target } from './prober.js';
import { refusalText } from './refusal.js';
import type { Standings } from './standings.js';

/** An engine that has no room for anything for so long is said to be full. */
const FULL_TOLD_MS = 5_000;

/** What is known of an engine that may take no work. Times by the runner's clock. */
export interface EngineState {
  readonly url: string;
  readonly models: readonly string[];
  readonly nowMs: number;
  /** False until it has been taken into use. */
  readonly connected: boolean;
  /** Whether its breaker is. */
  readonly closed: boolean;
  readonly health: Health;
  readonly standings: Standings;
  readonly lastTarget: Target | null;
  /** Since when it serves no model, and since when its breaker is not closed; `null` else. */
  readonly lostAtMs: number | null;
  readonly pausedAtMs: number | null;
}

/** Why an engine takes no work, or not all, and since when (`null`: not known). */
export interface EngineProblem {
  readonly text: string;
  readonly sinceMs: number | null;
}

/** True while it fails everything for a model, or has had no room for it for a while. */
export function givesNothing(standings: Standings, model: string, nowMs: number): boolean {
  const fullSinceMs = standings.fullSinceMs(model);
  const isFull = fullSinceMs !== null && nowMs - fullSinceMs >= FULL_TOLD_MS;
  return isFull || standings.failingSinceMs(model) !== null;
}

/** What is wrong with an engine, for people; `null` when nothing is. */
export function problemOf(state: EngineState): EngineProblem | null {
  const text = textOf(state);
  return text === null ? null : { text, sinceMs: sinceMsOf(state) };
}

/** What it fails for the longest time, of the models that it still serves. */
const failingOf = ({ standings, models }: EngineState) =>
  standings.failing.find(({ target }) => models.includes(target.model));

function sinceMsOf(state: EngineState): number | null {
  const { models, lostAtMs, pausedAtMs, standings } = state;
  if (models.length === 0) return lostAtMs;
  if (pausedAtMs !== null) return pausedAtMs;
  const full = models.map((model) => standings.fullSinceMs(model)).find((atMs) => atMs !== null);
  return full ?? failingOf(state)?.standing.sinceMs ?? null;
}

function textOf(state: EngineState): string | null {
  const { url, models, connected, closed, health, standings, lastTarget, nowMs } = state;
  if (models.length === 0) {
    return connected ? `the engine at ${url} serves no model now` : `no engine answers at ${url}`;
  }
  if (!closed && health === 'dead') return `the engine at ${url} is gone`;
  if (!closed && health === 'silent') return `the engine at ${url} does not answer`;
  const full = models.find(
    (model) => givesNothing(standings, model, nowMs) && standings.failingSinceMs(model) === null,
  );
  const fullness = full === undefined ? null : standings.fullness(full);
  if (closed && fullness !== null) return `the engine at ${url} ${fullness}`;
  const target = failingOf(state)?.target ?? (closed ? null : lastTarget);
  const last = target === null ? null : standings.of(target).last;
  if (target !== null && last !== null) return `the engine at ${url} ${refusalText(target, last)}`;
  return closed ? null : `the engine at ${url} fails every request`;
}
