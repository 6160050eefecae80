import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/**
 * Semi-space to settle at, in bytes; the young generation takes about twice as much. V8 by itself goes on to 32 MB of
 * it, which adds 60 to 100 MB of resident memory to a process that streams, and gains it nothing: what we allocate is
 * dead within a request or lives for a shard.
 */
const WANTED_BYTES = 8 * 1024 * 1024;
const CHECK_INTERVAL_MS = 1_000;
const MAX_ROUNDS = 400;
/**
 * By how much the old generation may grow before it is collected. V8 by itself lets a process that allocates quickly
 * grow to four times what is alive: 60 MB more of a runner at an engine that answers at once, and no faster.
 */
const OLD_GROWTH_PERCENT = 100;

/**
 * Keeps V8's young generation at a fixed small size and the old one close to what is alive, so that a process stays well
 * under 300 MB however large the job. `--max-semi-space-size` is read only from the command line; the factor by which the
 * semi-space grows is read at each growth: so it is grown once, here, and then held. To be called before anything large
 * is loaded.
 */
export function keepHeapSmall(): void {
  grow();
  setFlagsFromString(`--heap-growing-percent=${OLD_GROWTH_PERCENT}`);
  // V8 shrinks it when idle, and could never grow it again with a factor of one.
  setInterval(() => setGrowth(sizeBytes() < WANTED_BYTES ? 2 : 1), CHECK_INTERVAL_MS).unref();
}

function grow(): void {
  setGrowth(2);
  // It grows at a collection that much survives.
  let survivors: number[][] = [];
  for (let round = 0; round < MAX_ROUNDS && sizeBytes() < WANTED_BYTES; round += 1) {
    for (let count = 0; count < 2_000; count += 1) survivors.push([count, round, count]);
    if (survivors.length > 40_000) survivors = survivors.slice(20_000);
  }
  setGrowth(1);
}

const setGrowth = (factor: number): void => setFlagsFromString(`--semi-space-growth-factor=${factor}`);

const sizeBytes = (): number =>
  (getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ??
    WANTED_BYTES * 2) / 2;
