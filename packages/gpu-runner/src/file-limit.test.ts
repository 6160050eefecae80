import { expect, test } from 'vitest';
import { fileLimitWarning, openFileLimit } from './file-limit.js';

const LIMITS =
  'Limit   Soft Limit  Hard Limit  Units\nMax open files            256                  4096                 files\n';

test('the limit of open files is read, and unknown elsewhere', () => {
  expect(openFileLimit(() => LIMITS)).toBe(256);
  expect(openFileLimit(() => 'Max open files   unlimited')).toBeNull();
  expect(
    openFileLimit(() => {
      throw new Error('no such file');
    }),
  ).toBeNull();
});

test('too few files for the connections are said, with what to do', () => {
  expect(fileLimitWarning(256, { engines: 2, window: 256 })).toMatch(/ulimit -n 640/);
  expect(fileLimitWarning(1_024, { engines: 2, window: 256 })).toBeNull();
  expect(fileLimitWarning(null, { engines: 9, window: 1_024 })).toBeNull();
});
