import { expect, it } from 'vitest';
import { describeError } from './logger.js';

it('an error is logged with its causes, and without what a driver hangs on it', () => {
  const cause = Object.assign(new Error('duplicate key'), {
    code: '23505',
    detail: 'Failing row contains (the prompt)',
    parameters: ['the prompt'],
  });
  const logged = JSON.stringify(describeError(new Error('cannot store the job', { cause })));
  expect(logged).toContain('cannot store the job');
  expect(logged).toContain('23505');
  expect(logged).not.toContain('the prompt');
});

it('what is thrown and is no error is not shown', () => {
  expect(describeError('the prompt')).toEqual({ type: 'string' });
});
