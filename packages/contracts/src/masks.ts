/** A set of up to 256 item positions inside a shard: 32 bytes, bit `n & 7` of byte `n >> 3`. */
export type Mask = Uint8Array;

export const MASK_BYTES = 32;

export const emptyMask = (): Mask => new Uint8Array(MASK_BYTES);

export const hasBit = (mask: Mask, position: number): boolean =>
  ((mask[position >> 3] ?? 0) & (1 << (position & 7))) !== 0;

export function setBit(mask: Mask, position: number): void {
  mask[position >> 3] = (mask[position >> 3] ?? 0) | (1 << (position & 7));
}

export function clearBit(mask: Mask, position: number): void {
  mask[position >> 3] = (mask[position >> 3] ?? 0) & ~(1 << (position & 7));
}

export function countBits(mask: Mask): number {
  let count = 0;
  for (let byte of mask) {
    while (byte !== 0) {
      byte &= byte - 1;
      count += 1;
    }
  }
  return count;
}

/** Positions whose bit is set, ascending. */
export function positionsOf(mask: Mask): number[] {
  const positions: number[] = [];
  for (let position = 0; position < MASK_BYTES * 8; position += 1)
    if (hasBit(mask, position)) positions.push(position);
  return positions;
}

/** The first `count` bits set. */
export function fullMask(count: number): Mask {
  const mask = emptyMask();
  for (let position = 0; position < count; position += 1) setBit(mask, position);
  return mask;
}

export const orMasks = (left: Mask, right: Mask): Mask =>
  left.map((byte, index) => byte | (right[index] ?? 0));

/** Bits of `left` that are not in `right`. */
export const minusMask = (left: Mask, right: Mask): Mask =>
  left.map((byte, index) => byte & ~(right[index] ?? 0));

export const maskToBase64 = (mask: Mask): string => btoa(String.fromCharCode(...mask));

export function maskFromBase64(text: string): Mask {
  const mask = emptyMask();
  const binary = atob(text);
  for (let index = 0; index < MASK_BYTES; index += 1) mask[index] = binary.charCodeAt(index) || 0;
  return mask;
}

/** Item indexes as a lease carries them: 32-bit little-endian numbers. */
export function indexesToBase64(indexes: Uint32Array): string {
  const bytes = new Uint8Array(indexes.length * 4);
  const view = new DataView(bytes.buffer);
  indexes.forEach((index, position) => {
    view.setUint32(position * 4, index, true);
  });
  return btoa(String.fromCharCode(...bytes));
}

export function indexesFromBase64(text: string): Uint32Array {
  const view = new DataView(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer);
  return Uint32Array.from({ length: view.byteLength >> 2 }, (_, position) =>
    view.getUint32(position * 4, true),
  );
}
