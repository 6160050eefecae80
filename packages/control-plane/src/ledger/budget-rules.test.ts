import { expect, it } from 'vitest';
import { NO_LIMITS } from '../ports/project-limits.js';
import { heldBack } from './budget-rules.js';

const job = (id: string, tokensLeft = 100, total = 10) => ({ id, total, tokensLeft });

it('lets everything run without limits', () => {
  expect(heldBack([job('a'), job('b'), job('c')], NO_LIMITS).size).toBe(0);
});

it('holds jobs back beyond the number that may run', () => {
  const held = heldBack([job('a'), job('b'), job('c')], { ...NO_LIMITS, maxRunningJobs: 2 });
  expect([...held]).toEqual([['c', 'running_jobs']]);
});

it('holds jobs back beyond the tokens that may be queued, and lets smaller ones pass', () => {
  const jobs = [job('a', 60), job('b', 50), job('c', 30)];
  const held = heldBack(jobs, { ...NO_LIMITS, maxQueuedTokens: 100 });
  expect([...held]).toEqual([['b', 'queued_tokens']]);
});

it('lets one job run however large it is', () => {
  expect(heldBack([job('a', 1e9)], { ...NO_LIMITS, maxQueuedTokens: 1 }).size).toBe(0);
});

it('never holds back jobs of one item, and does not count them', () => {
  const jobs = [job('a'), job('plain', 1, 1), job('b')];
  expect([...heldBack(jobs, { ...NO_LIMITS, maxRunningJobs: 1 }).keys()]).toEqual(['b']);
});
