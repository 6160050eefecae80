import { describe, expect, it } from 'vitest';
import { chatLine, readLines, textOf } from './plan-fixture.js';
import { planOrder } from './plan-order.js';

async function plan(lines: readonly string[], inputShards = Math.ceil(lines.length / 256)) {
  const { order, ...rest } = await planOrder(readLines(lines), { inputShards, reuse: false });
  expect([...order].sort((left, right) => left - right)).toEqual(lines.map((_, index) => index));
  return { order: [...order], ...rest };
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe('plan order', () => {
  it('puts prompts with one beginning together, the group of the longest answer first', async () => {
    const line = (group: string, maxTokens: number) =>
      chatLine({ system: textOf(group, 2_000), user: 'question', maxTokens });
    const { order, worthwhile } = await plan([
      line('a', 10),
      line('b', 30),
      line('c', 20),
      line('a', 40),
      line('b', 35),
      line('c', 15),
      chatLine({ user: 'alone', maxTokens: 36 }),
    ]);
    expect(order).toEqual([3, 0, 6, 4, 1, 2, 5]);
    expect(worthwhile).toBe(true);
  });

  it('keeps groups inside groups together', async () => {
    const line = (document: string, user: string) =>
      chatLine({ system: textOf('system', 2_000), user: `${textOf(document, 3_000)} ${user}` });
    const { order } = await plan([line('x', '1'), line('y', '1'), line('x', '2'), line('y', '2')]);
    expect(order).toEqual([0, 2, 1, 3]);
  });

  it('begins with long answers', async () => {
    const lengths = [5, 90, 20, 90, 1];
    const { order, worthwhile } = await plan(lengths.map((maxTokens) => chatLine({ user: 'x', maxTokens })));
    expect(order).toEqual([1, 3, 2, 0, 4]);
    expect(worthwhile).toBe(true);
  });

  it('never mixes models', async () => {
    const { order, gain, worthwhile } = await plan(
      ['a', 'b', 'a', 'c', 'b'].map((model) => chatLine({ model, user: 'x' })),
      5,
    );
    expect(order).toEqual([0, 2, 1, 4, 3]);
    expect([gain.shardRatio, worthwhile]).toEqual([5 / 3, false]);
  });

  it('brings identical requests together where they run once', async () => {
    const long = textOf('long', 40_000);
    const lines = ['a', 'b', long, 'a', 'c', long, 'b'].map((user, index) =>
      chatLine({ id: `${index}`, user }),
    );
    const options = { inputShards: 1, reuse: true };
    const { order, worthwhile } = await planOrder(readLines(lines, { reuse: true }), options);
    expect([...order]).toEqual([0, 3, 1, 6, 2, 5, 4]);
    expect(worthwhile).toBe(true);
    const different = upTo(50).map((index) => chatLine({ user: `question ${index}` }));
    expect(await planOrder(readLines(different, { reuse: true }), options)).toMatchObject({
      worthwhile: false,
    });
  });

  it('leaves the input as it is where nothing is gained', async () => {
    const one = textOf('system', 4_000);
    const jobs = {
      equal: Array.from({ length: 100 }, (_, index) => chatLine({ user: `question ${index}` })),
      'one prompt for all': Array.from({ length: 100 }, (_, index) =>
        chatLine({ system: one, user: `${index}` }),
      ),
      'grouped already': Array.from({ length: 100 }, (_, index) =>
        chatLine({ system: textOf(`${index >> 4}`, 3_000), user: `${index}` }),
      ),
      'hardly any shared': Array.from({ length: 100 }, (_, index) =>
        chatLine({ system: textOf(`${index % 98}`, 3_000), user: `${index}` }),
      ),
      'nearly equal lengths': Array.from({ length: 100 }, (_, index) =>
        chatLine({ user: 'x', maxTokens: 100 + (index % 20) }),
      ),
      none: [],
    };
    for (const [name, lines] of Object.entries(jobs))
      expect((await plan(lines)).worthwhile, name).toBe(false);
  });

  it('is the same for the same items, and sorts more than it does at a stretch', async () => {
    const lines = Array.from({ length: 40_000 }, (_, index) =>
      chatLine({
        user: `${textOf(`${(index * 7) % 500}`, 1_100)} ${index}`,
        maxTokens: 1 + ((index * 31) % 97),
      }),
    );
    const [first, second] = [await plan(lines), await plan(lines)];
    expect(first.order).toEqual(second.order);
    expect(first.gain.prefixShare).toBeGreaterThan(0.5);
    // 500 groups of 80, each in one piece.
    const groups = first.order.map((index) => (index * 7) % 500);
    expect(groups.filter((group, position) => group !== groups[position - 1])).toHaveLength(500);
  });
});
