import { describe, expect, it } from 'vitest';
import { countTokens, promptBlockHashes, textBlockHashes } from './prompt.js';

describe('promptBlockHashes', () => {
  const shared = { key: 'shared', tokens: 10 };

  it('gives one hash for each full block', () => {
    expect(promptBlockHashes([{ key: 'a', tokens: 15 }], 4)).toHaveLength(3);
  });

  it('agrees up to the last block that lies whole in the shared part', () => {
    const first = promptBlockHashes([shared, { key: 'a', tokens: 10 }], 4);
    const second = promptBlockHashes([shared, { key: 'b', tokens: 10 }], 4);
    expect(first.slice(0, 2)).toEqual(second.slice(0, 2));
    expect(first[2]).not.toBe(second[2]);
  });

  it('never agrees again behind a difference', () => {
    const first = promptBlockHashes([{ key: 'a', tokens: 4 }, shared], 4);
    const second = promptBlockHashes([{ key: 'b', tokens: 4 }, shared], 4);
    expect(first.filter((hash) => second.includes(hash))).toEqual([]);
  });
});

describe('textBlockHashes', () => {
  it('agrees on a shared start of text and differs behind it', () => {
    const first = textBlockHashes(`${'x'.repeat(64)}first question, long enough for a block`, 8);
    const second = textBlockHashes(`${'x'.repeat(64)}other question, long enough for a block`, 8);
    expect(first.slice(0, 2)).toEqual(second.slice(0, 2));
    expect(first[2]).not.toBe(second[2]);
  });
});

describe('countTokens', () => {
  it('counts a token for every four characters and at least one', () => {
    expect([countTokens(''), countTokens('abcd'), countTokens('abcde')]).toEqual([1, 1, 2]);
  });
});
