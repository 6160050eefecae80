import { expect, test } from 'vitest';
import { pickEngine } from './picker.js';

const M = { path: '/v1/chat/completions', model: 'm' };

const engine = (name: string, free: number, inFlight: number, models = ['m']) => ({
  ...{ name, load: { inFlight, outstandingTokens: 0 } },
  roomFor: ({ model }: { model: string }) => (models.includes(model) ? free : 0),
});

test('the engine with the least outstanding takes the next item', () => {
  expect(pickEngine([engine('a', 5, 9), engine('b', 5, 3), engine('c', 5, 3)], M)?.name).toBe('b');
});

test('tokens outstanding count before requests', () => {
  const load = (inFlight: number, outstandingTokens: number) => ({ inFlight, outstandingTokens });
  const few = { ...engine('few', 5, 0), load: load(2, 90_000) };
  const many = { ...engine('many', 5, 0), load: load(30, 10_000) };
  expect(pickEngine([few, many], M)?.name).toBe('many');
});

test('an engine without room, or without the model, is passed over', () => {
  expect(pickEngine([engine('a', 0, 1), engine('b', 5, 9), engine('c', 5, 0, ['other'])], M)?.name).toBe('b');
  expect(pickEngine([engine('a', 0, 1), engine('c', 5, 0, ['other'])], M)).toBeNull();
});
