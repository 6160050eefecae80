import { describe, expect, it } from 'vitest';
import { selectBalanced } from './select-questions.mjs';

const questions = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'].map((customId) => ({
  custom_id: customId,
  kind: customId.slice(0, 1),
}));

describe('selectBalanced', () => {
  it.each([
    [3, ['a1', 'b1', 'c1']],
    [4, ['a1', 'a2', 'b1', 'c1']],
    [5, ['a1', 'a2', 'b1', 'b2', 'c1']],
    [100, ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']],
  ])('takes %i questions evenly from all kinds and keeps their order', (limit, customIds) => {
    expect(selectBalanced(questions, limit).map((question) => question.custom_id)).toEqual(customIds);
  });
});
