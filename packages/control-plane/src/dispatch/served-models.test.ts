import { expect, it } from 'vitest';
import { servedModels } from './served-models.js';

it('names every model that a runner serves, once', () => {
  expect([...servedModels([{ models: ['a', 'b'] }, { models: ['b', 'c'] }], 10)]).toEqual(['a', 'b', 'c']);
});

it('is bounded, and a runner with made-up names does not push out what others serve', () => {
  const madeUp = Array.from({ length: 10_000 }, (_, index) => `made-up-${index}`);
  const served = servedModels([{ models: madeUp }, { models: ['good'] }], 100);
  expect(served.size).toBe(100);
  expect(served.has('good')).toBe(true);
});
