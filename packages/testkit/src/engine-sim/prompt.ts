import { hashPair, hashText } from './random.js';

/** A stretch of prompt in virtual time: sequences that share a key share these tokens. */
export interface PromptPart {
  readonly key: string;
  readonly tokens: number;
}

/** Chained hashes of the full blocks of a prompt made of parts, for `SequenceRequest.blockHashes`. */
export function promptBlockHashes(parts: readonly PromptPart[], blockSize: number): number[] {
  const hashes: number[] = [];
  let chain = 0;
  let filled = 0;
  for (const part of parts) {
    const key = hashText(part.key);
    let offset = 0;
    while (offset < part.tokens) {
      const taken = Math.min(blockSize - filled, part.tokens - offset);
      chain = hashPair(chain, hashPair(key, offset * 4096 + taken));
      offset += taken;
      filled += taken;
      if (filled === blockSize) {
        hashes.push(chain);
        filled = 0;
      }
    }
  }
  return hashes;
}

/** English text has about four characters a token. */
const CHARACTERS_PER_TOKEN = 4;

/** Tokens of a text, as the simulated tokenizer counts them: a token for every four characters, at least one. */
export function countTokens(text: string): number {
  return Math.max(1, Math.ceil(text.length / CHARACTERS_PER_TOKEN));
}

/** Chained hashes of the full blocks of a text under the simulated tokenizer. */
export function textBlockHashes(text: string, blockSize: number): number[] {
  const width = blockSize * CHARACTERS_PER_TOKEN;
  const hashes: number[] = [];
  let chain = 0;
  for (let start = 0; start + width <= text.length; start += width) {
    chain = hashText(text.slice(start, start + width), chain);
    hashes.push(chain);
  }
  return hashes;
}
