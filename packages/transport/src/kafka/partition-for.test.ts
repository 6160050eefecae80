import { describe, expect, it } from 'vitest';
import { partitionFor } from './partition-for.js';

const shards = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ shard_id: `shard-${index}` }));

describe('partitionFor', () => {
  it('takes the partition with the fewest outstanding offers', () => {
    for (const shard of shards(50)) expect(partitionFor(shard, 4, [3, 2, 0, 5])).toBe(2);
  });

  it('deals offers evenly when each is counted', () => {
    const outstanding = [0, 0, 0, 0, 0, 0];
    for (const shard of shards(600)) {
      const partition = partitionFor(shard, 6, outstanding);
      outstanding[partition] = (outstanding[partition] ?? 0) + 1;
    }
    expect(outstanding).toEqual([100, 100, 100, 100, 100, 100]);
  });

  it('spreads rare offers over idle partitions', () => {
    const used = new Set(shards(200).map((shard) => partitionFor(shard, 12, [])));
    expect(used.size).toBe(12);
  });

  it('sends a prefix group to one partition, however full', () => {
    const used = new Set(
      shards(50).map((shard) => partitionFor({ ...shard, prefix_group: 'g' }, 12, [9, 0, 0, 9])),
    );
    expect(used.size).toBe(1);
  });

  it('is a function of its arguments', () => {
    const [shard] = shards(1);
    if (shard === undefined) expect.fail();
    expect(partitionFor(shard, 12, [])).toBe(partitionFor(shard, 12, []));
  });
});
