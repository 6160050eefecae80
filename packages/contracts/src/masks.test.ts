import { describe, expect, it } from 'vitest';
import {
  clearBit,
  countBits,
  emptyMask,
  fullMask,
  hasBit,
  indexesFromBase64,
  indexesToBase64,
  maskFromBase64,
  maskToBase64,
  minusMask,
  orMasks,
  positionsOf,
  setBit,
} from './masks.js';

describe('masks', () => {
  it('remember exactly the positions that were set', () => {
    const mask = emptyMask();
    for (const position of [0, 7, 8, 63, 255]) setBit(mask, position);
    clearBit(mask, 8);
    expect(positionsOf(mask)).toEqual([0, 7, 63, 255]);
    expect(countBits(mask)).toBe(4);
    expect(hasBit(mask, 8)).toBe(false);
  });

  it('hold a whole shard', () => {
    expect(countBits(fullMask(256))).toBe(256);
    expect(positionsOf(fullMask(3))).toEqual([0, 1, 2]);
  });

  it('travel as base64 unchanged', () => {
    const mask = orMasks(fullMask(9), maskFromBase64(maskToBase64(fullMask(200))));
    expect(maskFromBase64(maskToBase64(mask))).toEqual(mask);
  });

  it('subtract', () => {
    expect(positionsOf(minusMask(fullMask(5), fullMask(3)))).toEqual([3, 4]);
  });
});

describe('item indexes', () => {
  it('come back as they went, large ones too', () => {
    const indexes = Uint32Array.from([0, 7, 4_999_999, 2 ** 32 - 1]);
    expect(indexesFromBase64(indexesToBase64(indexes))).toEqual(indexes);
    expect(indexesFromBase64('')).toEqual(new Uint32Array(0));
    expect(indexesToBase64(Uint32Array.of(1, 256))).toBe('AQAAAAABAAA=');
  });
});
