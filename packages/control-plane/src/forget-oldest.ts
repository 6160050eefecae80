/** Forgets what was put into a map first, until it holds `most` entries: what is remembered must not grow for ever. */
export function forgetOldest(map: Map<unknown, unknown>, most: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= most) return;
    map.delete(oldest);
  }
}
