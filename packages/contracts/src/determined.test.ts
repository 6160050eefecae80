import { describe, expect, it } from 'vitest';
import { isDetermined, type SamplingChoices } from './determined.js';

const CHAT = '/v1/chat/completions';

describe('a request', () => {
  it.each<[string, SamplingChoices]>([
    [CHAT, { temperature: 0 }],
    [CHAT, { seed: 7 }],
    [CHAT, { n: 1, temperature: 0.9, seed: 0 }],
    ['/v1/messages', { temperature: 0 }],
    ['/v1/embeddings', {}],
  ])('to %s with %j determines its answer', (endpoint, choices) => {
    expect(isDetermined(endpoint, choices)).toBe(true);
  });

  it.each<[string, SamplingChoices]>([
    [CHAT, {}],
    [CHAT, { temperature: 0.1 }],
    [CHAT, { temperature: '0' }],
    [CHAT, { temperature: 0, n: 2 }],
    [CHAT, { temperature: 0, n: null }],
    [CHAT, { seed: 1.5 }],
    [CHAT, { seed: null }],
  ])('to %s with %j does not', (endpoint, choices) => {
    expect(isDetermined(endpoint, choices)).toBe(false);
  });
});
