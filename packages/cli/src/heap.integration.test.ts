import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

const PROGRAM = `
  import { getHeapSpaceStatistics } from 'node:v8';
  import { holdYoungGeneration } from ${JSON.stringify(new URL('./heap.ts', import.meta.url).href)};
  if (process.argv.includes('hold')) holdYoungGeneration();
  let kept = [];
  for (let round = 0; round < 2_000_000; round += 1) {
    kept.push({ round, list: [round] });
    if (kept.length > 20_000) kept = kept.slice(10_000);
  }
  console.log(getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size);
`;

const youngGenerationBytes = (...parameters: string[]): number =>
  Number(
    execFileSync(process.execPath, ['--input-type=module', '--eval', PROGRAM, '--', ...parameters], {
      encoding: 'utf8',
      env: { ...process.env, NODE_NO_WARNINGS: '1', NODE_OPTIONS: '' },
    }),
  );

test('the young generation stays at 16 MB under a load that would grow it further', () => {
  expect(youngGenerationBytes('hold')).toBe(16 * 1024 * 1024);
  expect(youngGenerationBytes()).toBeGreaterThan(16 * 1024 * 1024);
});
