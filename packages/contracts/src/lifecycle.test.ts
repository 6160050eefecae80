import { describe, expect, it } from 'vitest';
import { canMove, isTerminal, JOB_STATES, terminalState, toJobStatus } from './lifecycle.js';

describe('the life cycle of a job', () => {
  it('shows every stored state as one of the six public statuses', () => {
    expect(JOB_STATES.map(toJobStatus)).toEqual([
      'queued',
      'queued',
      'running',
      'running',
      'succeeded',
      'failed',
      'running',
      'cancelled',
      'expired',
    ]);
  });

  it('opens an ended job again only as queued', () => {
    for (const state of JOB_STATES.filter(isTerminal)) {
      expect(JOB_STATES.filter((next) => canMove(state, next))).toEqual(['queued']);
    }
  });

  it('reaches an end from every state that is not an end', () => {
    for (const start of JOB_STATES.filter((state) => !isTerminal(state))) {
      const reached = new Set([start]);
      for (const state of reached) {
        if (!isTerminal(state)) for (const next of JOB_STATES) if (canMove(state, next)) reached.add(next);
      }
      expect([...reached].some(isTerminal)).toBe(true);
    }
  });

  it('ends as succeeded as soon as one item succeeded, and as failed when none did', () => {
    expect(terminalState({ reason: 'completed', succeeded: 1, total: 9 })).toBe('succeeded');
    expect(terminalState({ reason: 'completed', succeeded: 0, total: 9 })).toBe('failed');
    expect(terminalState({ reason: 'error_limit', succeeded: 5, total: 9 })).toBe('failed');
    expect(terminalState({ reason: 'cancelled', succeeded: 5, total: 9 })).toBe('cancelled');
    expect(terminalState({ reason: 'expired', succeeded: 5, total: 9 })).toBe('expired');
  });
});
