import { describe, expect, test } from 'vitest';
import { homeOf, prefixKeyOf } from './prefix-key.js';

const chat = (system: string, user: string, more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      ...more,
      model: 'm',
      messages: [
        { role: 'system', content: system },
        { role: 'user', content: user },
      ],
    }),
  );

describe('the prefix key of a body', () => {
  const long = 'You grade essays. '.repeat(100);

  test('is equal for prompts with one long beginning, whatever stands around them', () => {
    expect(prefixKeyOf(chat(long, 'one'))).toBe(prefixKeyOf(chat(long, 'two', { temperature: 0, seed: 7 })));
  });

  test('differs for other beginnings, and for short prompts that differ at their end', () => {
    expect(prefixKeyOf(chat(long, 'one'))).not.toBe(prefixKeyOf(chat(`No. ${long}`, 'one')));
    expect(prefixKeyOf(chat('short', 'one'))).not.toBe(prefixKeyOf(chat('short', 'two')));
  });

  test('knows prompts of all endpoints, and takes a slice of a larger buffer', () => {
    const bodies = ['prompt', 'input', 'system'].map((name) =>
      Buffer.from(JSON.stringify({ [name]: 'text' })),
    );
    const keys = bodies.map((body) => prefixKeyOf(body));
    expect(new Set(keys).size).toBe(1);
    expect(prefixKeyOf(Buffer.from('no JSON'))).not.toBe(keys[0]);
    const padded = Buffer.concat([Buffer.from('xx'), chat(long, 'one')]).subarray(2);
    expect(prefixKeyOf(padded)).toBe(prefixKeyOf(chat(long, 'one')));
  });
});

describe('the home of a prefix', () => {
  const engines = ['http://gpu-1:8000', 'http://gpu-2:8000', 'http://gpu-3:8000'];
  const keys = Array.from({ length: 3_000 }, (_, index) => prefixKeyOf(chat(`topic ${index}`, '')));

  test('is shared out evenly', () => {
    const counts = new Map<string | null, number>();
    for (const key of keys) {
      const home = homeOf(key, engines);
      counts.set(home, (counts.get(home) ?? 0) + 1);
    }
    for (const engine of engines) expect(counts.get(engine)).toBeGreaterThan(800);
  });

  test('stays when another engine goes, and when the order changes', () => {
    const left = engines.slice(0, 2);
    for (const key of keys) {
      const home = homeOf(key, engines);
      if (home !== engines[2]) expect(homeOf(key, left)).toBe(home);
      expect(homeOf(key, [...engines].reverse())).toBe(home);
    }
  });

  test('is none without engines', () => {
    expect(homeOf(1, [])).toBeNull();
  });
});
