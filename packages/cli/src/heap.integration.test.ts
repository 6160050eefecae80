import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

const heap = JSON.stringify(new URL('./heap.ts', import.meta.url).href);
const BEGIN = `
  import { getHeapSpaceStatistics } from 'node:v8';
  import { keepHeapSmall } from ${heap};
  if (process.argv.includes('small')) keepHeapSmall();
  const sizeOf = (name) => getHeapSpaceStatistics().find((space) => space.space_name === name).space_size;
`;

/** What a program prints, in bytes. */
const run = (program: string, ...parameters: string[]): number =>
  Number(
    execFileSync(process.execPath, ['--input-type=module', '--eval', BEGIN + program, '--', ...parameters], {
      encoding: 'utf8',
      env: { ...process.env, NODE_NO_WARNINGS: '1', NODE_OPTIONS: '' },
    }),
  );

test('the young generation stays at 16 MB under a load that would grow it further', () => {
  const program = `
    let kept = [];
    for (let round = 0; round < 2_000_000; round += 1) {
      kept.push({ round, list: [round] });
      if (kept.length > 20_000) kept = kept.slice(10_000);
    }
    console.log(sizeOf('new_space'));
  `;
  expect(run(program, 'small')).toBe(16 * 1024 * 1024);
  expect(run(program)).toBeGreaterThan(16 * 1024 * 1024);
});

test('the old generation stays at twice what is alive', () => {
  // Items that live long enough to become old, and are garbage soon after; about 45 MB of them are alive at a time.
  const program = `
    const ring = new Array(300_000).fill(null);
    let peak = 0;
    for (let round = 0; round < 9_000_000; round += 1) {
      ring[round % ring.length] = { round, list: [round, round, round, round] };
      if (round % 100_000 === 0) peak = Math.max(peak, sizeOf('old_space'));
    }
    console.log(peak);
  `;
  expect(run(program, 'small')).toBeLessThan(130e6);
});
