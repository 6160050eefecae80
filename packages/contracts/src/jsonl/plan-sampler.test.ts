import { describe, expect, it } from 'vitest';
import { PlanSampler } from './plan-sampler.js';

const hintsOf = (bodies: Iterable<Record<string, unknown>>) => {
  const sampler = new PlanSampler();
  let index = 0;
  for (const body of bodies) {
    sampler.see(index, body);
    index += 1;
  }
  return sampler.hints();
};
const chat = (system: string, user: string) => ({
  messages: [
    { role: 'system', content: system },
    { role: 'user', content: user },
  ],
});
const many = (count: number, make: (index: number) => Record<string, unknown>) =>
  Array.from({ length: count }, (_, index) => make(index));
const LONG = 'You answer questions. '.repeat(80);

describe('hints for the planner', () => {
  it.each([600, 20_000])('see prompts that take turns with their beginnings (%i lines)', (count) => {
    const bodies = many(count, (index) => chat(`${index % 16} ${LONG}`, `question ${index}`));
    expect(hintsOf(bodies)).toEqual({ sharedPrefixes: true, unequalLengths: false });
  });

  it('see documents behind a system prompt that all share', () => {
    const bodies = many(2_000, (index) => chat(LONG, `document ${index % 100} ${LONG} question ${index}`));
    expect(hintsOf(bodies)).toMatchObject({ sharedPrefixes: true });
  });

  it('see shared tools, prompts and inputs', () => {
    for (const key of ['tools', 'system', 'instructions', 'prompt', 'input']) {
      const bodies = many(1_000, (index) => ({ [key]: `${index % 9} ${LONG}` }));
      expect(hintsOf(bodies)).toMatchObject({ sharedPrefixes: true });
    }
  });

  it('see nothing where all begin alike, where none do, and where prompts are short', () => {
    const alike = many(1_000, (index) => chat(LONG, `question ${index}`));
    const different = many(1_000, (index) => chat(`${index} ${LONG}`, 'question'));
    const short = many(1_000, (index) => chat(`${index % 3}`, 'question'));
    for (const bodies of [alike, different, short, []])
      expect(hintsOf(bodies)).toEqual({ sharedPrefixes: false, unequalLengths: false });
  });

  it('see one long answer among many short ones', () => {
    const bodies = many(5_000, (index) => ({ prompt: 'x', max_tokens: index === 4_321 ? 4_000 : 100 }));
    expect(hintsOf(bodies)).toEqual({ sharedPrefixes: false, unequalLengths: true });
  });
});
