/** Hashes and random numbers that are the same on every machine and in every run. None of them is for security. */

/**
 * Hash of a text as an integer below 2^53 (cyrb53).
 * @param seed mixes in another hash: pass the hash of the text before to make a chain.
 */
export function hashText(text: string, seed = 0): number {
  let high = 0xdeadbeef ^ seed ^ Math.floor(seed / 0x1_0000_0000);
  let low = 0x41c6ce57 ^ seed;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2_654_435_761);
    low = Math.imul(low ^ code, 1_597_334_677);
  }
  return finish(high, low);
}

/** Hash of two integers below 2^53, as an integer below 2^53. */
export function hashPair(first: number, second: number): number {
  const high = Math.imul((first ^ Math.floor(first / 0x1_0000_0000)) + 0x9e3779b9, 2_654_435_761) ^ second;
  const low = Math.imul((second ^ Math.floor(second / 0x1_0000_0000)) + 0x85ebca6b, 1_597_334_677) ^ first;
  return finish(high, low);
}

function finish(high: number, low: number): number {
  let top = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909);
  let bottom = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(top ^ (top >>> 13), 3_266_489_909);
  top ^= bottom >>> 16;
  bottom ^= top >>> 15;
  return 4_294_967_296 * (2_097_151 & top) + (bottom >>> 0);
}

/** A number in [0, 1) that depends on the seed and the text only. */
export function unitHash(text: string, seed: number): number {
  return hashText(text, seed) / 2 ** 53;
}
