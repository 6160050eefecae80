import { expect, it } from 'vitest';
import { OutageLog } from './outage-log.js';

it('no line for a caller whose time is over before the answer is there, nor for an item that ended without one', () => {
  const log = new OutageLog();
  expect([log.mayLog('answer_not_ready'), log.mayLog('item_not_run')]).toEqual([false, false]);
});

it('one line for each outage, and one for every other failure', () => {
  let nowMs = 0;
  const log = new OutageLog(() => nowMs);
  const logged: string[] = [];
  const fail = (code: 'unavailable' | 'internal_error' | 'storage_full') => {
    if (log.mayLog(code)) logged.push(`${nowMs} ${code}`);
  };
  for (; nowMs < 60_000; nowMs += 100) fail('unavailable');
  fail('internal_error');
  fail('internal_error');
  fail('storage_full');
  nowMs += 10_001;
  fail('unavailable');
  expect(logged).toEqual([
    '0 unavailable',
    '60000 internal_error',
    '60000 internal_error',
    '60000 storage_full',
    '70001 unavailable',
  ]);
});
