import { expect, it } from 'vitest';
import { isForegroundOfNpm } from './npm-parent.js';

it.each([
  'batch-infer',
  'batch-infer serve --port 0',
  "'batch-infer'",
  '"batch-infer" up',
  'exec batch-infer runner',
  './node_modules/.bin/batch-infer serve',
])('npm has started us in the foreground by %s', (script) => {
  expect(isForegroundOfNpm({ npm_lifecycle_script: script })).toBe(true);
});

it.each([
  undefined,
  '',
  'batch-infer serve &',
  'nohup batch-infer serve',
  './start.sh',
  'node start.js batch-infer',
  'batch-infer-wrapper serve',
  'batch-infer serve & wait',
  '(batch-infer serve)',
])('npm may have started us in the background by %s', (script) => {
  expect(isForegroundOfNpm({ npm_lifecycle_script: script })).toBe(false);
});
