import { LIMITS } from '@batch-infer/contracts';
import { expect, it } from 'vitest';
import { OpenStreams } from './open-streams.js';

it('a project has a limit of open streams, and one that ends makes room', () => {
  const streams = new OpenStreams();
  const ends = Array.from({ length: LIMITS.projectStreams }, () => streams.begin('alpha'));
  expect(() => streams.begin('alpha')).toThrow('event streams');
  streams.begin('beta')();
  ends[0]?.();
  streams.begin('alpha');
  expect(() => streams.begin('alpha')).toThrow('event streams');
});
