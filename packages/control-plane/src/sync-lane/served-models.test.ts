import { expect, it } from 'vitest';
import { ServedModels } from './served-models.js';

const options = { projectId: 'default', signal: new AbortController().signal };
const served = (...models: readonly string[]) =>
  new ServedModels({ models: async () => models.map((id) => ({ id, seenAtMs: 0 })) });

it('lets requests for served models through', async () => {
  await served('a', 'b').require('b', options);
});

it('lets every request wait while no runner is connected', async () => {
  await served().require('anything', options);
});

it('refuses a model that nobody serves, with those that are', async () => {
  await expect(served('a', 'b').require('c', { ...options, graceMs: 0 })).rejects.toMatchObject({
    code: 'model_not_served',
    message: 'No runner serves this model. Served now: "a", "b".',
  });
});

it('gives a runner that starts again time to come back', async () => {
  let looks = 0;
  const models = new ServedModels({
    models: async () => [{ id: ++looks === 1 ? 'other' : 'mine', seenAtMs: 0 }],
  });
  await models.require('mine', options);
  expect(looks).toBe(2);
});
