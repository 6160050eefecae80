import { describe, expect, it } from 'vitest';
import { type FaultRule, FaultScript, parseFaultRules } from './faults.js';

const reset: FaultRule['action'] = { kind: 'reset' };

function subject(index: number, overrides: { attempt?: number; rawBody?: string } = {}) {
  return {
    path: '/v1/chat/completions',
    rawBody: `body ${index}`,
    bodyHash: `hash ${index}`,
    attempt: 1,
    ...overrides,
  };
}

function struck(rules: readonly FaultRule[], count: number, seed = 1): number[] {
  const script = new FaultScript(rules, seed);
  return Array.from({ length: count }, (_, index) => index).filter(
    (index) => script.decide(subject(index)) !== null,
  );
}

describe('FaultScript', () => {
  it('strikes everything without a condition and nothing without a rule', () => {
    expect(struck([{ action: reset }], 3)).toEqual([0, 1, 2]);
    expect(struck([], 3)).toEqual([]);
  });

  it('strikes about the given share, the same requests for the same seed', () => {
    const rules = [{ match: { rate: 0.1 }, action: reset }];
    const first = struck(rules, 5000);
    expect(first.length).toBeGreaterThan(400);
    expect(first.length).toBeLessThan(600);
    expect(struck(rules, 5000)).toEqual(first);
    expect(struck(rules, 5000, 2)).not.toEqual(first);
  });

  it('draws again for another attempt of the same body', () => {
    const script = new FaultScript([{ match: { rate: 0.5 }, action: reset }], 1);
    const outcomes = Array.from({ length: 50 }, (_, index) =>
      script.decide(subject(1, { attempt: index + 1 })),
    );
    expect(outcomes).toContain(null);
    expect(outcomes).toContain(reset);
  });

  it('strikes every n-th request and at most so many times', () => {
    expect(struck([{ match: { everyNth: 3 }, action: reset }], 9)).toEqual([2, 5, 8]);
    expect(struck([{ match: { everyNth: 3, times: 2 }, action: reset }], 20)).toEqual([2, 5]);
    expect(struck([{ match: { times: 1 }, action: reset }], 20)).toEqual([0]);
  });

  it('strikes by text in the body, by path and by attempt', () => {
    const script = new FaultScript(
      [
        { match: { bodyIncludes: 'poison' }, action: { kind: 'die' } },
        { match: { pathPrefix: '/v1/embeddings' }, action: { kind: 'hang' } },
        { match: { firstAttempts: 2 }, action: reset },
      ],
      1,
    );
    expect(script.decide(subject(1, { rawBody: 'a poison item', attempt: 9 }))).toEqual({ kind: 'die' });
    expect(script.decide({ ...subject(1), path: '/v1/embeddings' })).toEqual({ kind: 'hang' });
    expect(script.decide(subject(1, { attempt: 2 }))).toEqual(reset);
    expect(script.decide(subject(1, { attempt: 3 }))).toBeNull();
  });
});

describe('parseFaultRules', () => {
  it('reads a list of rules', () => {
    const rules = [{ match: { rate: 0.1 }, action: { kind: 'status', status: 500 } }];
    expect(parseFaultRules(JSON.stringify(rules))).toEqual(rules);
  });

  it.each(['{}', '[{}]', '[{"action":{"kind":"explode"}}]', '[{"action":"reset"}]'])('refuses %s', (text) => {
    expect(() => parseFaultRules(text)).toThrow(TypeError);
  });
});
