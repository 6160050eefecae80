import { expect, test } from 'vitest';
import { ManualClock } from '../../test/manual-clock.js';
import { classify } from './classify.js';
import { type EngineState, givesNothing, problemOf } from './engine-problem.js';
import type { ProbeResult } from './standing.js';
import { Standings } from './standings.js';

const PATH = '/v1/chat/completions';

function refusalOf(model: string) {
  const body = Buffer.from(JSON.stringify({ error: { message: `The model ${model} does not exist.` } }));
  const verdict = classify(PATH, { kind: 'answer', status: 404, retryAfterMs: null, body, ms: 1 });
  if (verdict === null || verdict.ok) throw new Error('it was to be refused');
  return verdict;
}

/** An engine that has refused everything for `lost`, and then lists `models`. */
async function stateAfterRefusals(models: readonly string[]): Promise<EngineState> {
  const clock = new ManualClock();
  const failure = refusalOf('lost');
  const probe = async (): Promise<ProbeResult> => ({ outcome: 'failed', failure });
  const standings = new Standings(() => ({
    ...{ clock, probe, random: () => 0.5 },
    elsewhere: () => false,
    onChange: () => {},
  }));
  for (let item = 0; item < 4; item += 1) standings.of({ path: PATH, model: 'lost' }).failed({}, failure, 0);
  await clock.advance(10);
  return {
    ...{ url: 'http://e', models, nowMs: clock.nowMs(), connected: true, closed: true, health: 'alive' },
    ...{ standings, lastTarget: null, lostAtMs: null, pausedAtMs: null },
  };
}

test('an engine that fails everything for a model says so in its own words', async () => {
  const state = await stateAfterRefusals(['lost', 'other']);
  expect(problemOf(state)).toEqual({
    text: `the engine at http://e answers 404 to every ${PATH} for lost ("The model lost does not exist.")`,
    sinceMs: 0,
  });
  expect(givesNothing(state.standings, 'lost', state.nowMs)).toBe(true);
  expect(givesNothing(state.standings, 'other', state.nowMs)).toBe(false);
});

test('a model that the engine does not list any more is no problem of it', async () => {
  expect(problemOf(await stateAfterRefusals(['other']))).toBeNull();
});

test.each([
  [{ models: [] }, 'the engine at http://e serves no model now'],
  [{ models: [], connected: false }, 'no engine answers at http://e'],
  [{ closed: false, health: 'dead' }, 'the engine at http://e is gone'],
  [{ closed: false, health: 'silent' }, 'the engine at http://e does not answer'],
  [{ closed: false }, 'the engine at http://e fails every request'],
] as const)('%o reads: %s', async (fields, text) => {
  expect(problemOf({ ...(await stateAfterRefusals(['other'])), ...fields })?.text).toBe(text);
});
