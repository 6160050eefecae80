/** Keys are relative paths: parts of letters, digits and `. _ - + = @ ~`, joined by slashes; no part begins with a dot. */
const KEY = /^[A-Za-z0-9_\-+=@~][A-Za-z0-9._\-+=@~]*(?:\/[A-Za-z0-9_\-+=@~][A-Za-z0-9._\-+=@~]*)*$/;

const MAX_KEY_CHARS = 900;
/** The limit of file names on common file systems. */
const MAX_PART_CHARS = 200;

/**
 * Refuses keys that could leave the store or that a file system or a bucket could not hold.
 * @throws {RangeError}
 */
export function assertKey(key: string): void {
  const fits = key.length <= MAX_KEY_CHARS && key.split('/').every((part) => part.length <= MAX_PART_CHARS);
  if (!fits || !KEY.test(key))
    throw new RangeError(`${JSON.stringify(key.slice(0, 100))} is not a valid blob key.`);
}

export const compareKeys = (left: string, right: string): number =>
  left < right ? -1 : left > right ? 1 : 0;
