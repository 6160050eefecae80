import { expect, it } from 'vitest';
import { ByteBudget } from './byte-budget.js';

/** Takes in the background, and tells when it was admitted. */
function taker(budget: ByteBudget) {
  const admitted: string[] = [];
  const take = (name: string, bytes: number, signal?: AbortSignal) => {
    const taking = budget.take(bytes, signal);
    taking.then(
      () => admitted.push(name),
      () => admitted.push(`not ${name}`),
    );
    return taking;
  };
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { admitted, take, settled };
}

it('holds no more than its bytes, and admits in the order of asking', async () => {
  const budget = new ByteBudget({ bytes: 100 });
  const { admitted, take, settled } = taker(budget);
  const first = await take('first', 60);
  void take('second', 60);
  void take('small', 10);
  await settled();
  expect(admitted).toEqual(['first']);
  expect(budget.held).toBe(60);
  first();
  first();
  await settled();
  expect(admitted).toEqual(['first', 'second', 'small']);
  expect(budget.held).toBe(70);
});

it('lets one that is larger than all of it go alone', async () => {
  const budget = new ByteBudget({ bytes: 100 });
  const { admitted, take, settled } = taker(budget);
  const first = await take('first', 1);
  void take('huge', 1_000);
  await settled();
  expect(admitted).toEqual(['first']);
  first();
  await settled();
  expect(admitted).toEqual(['first', 'huge']);
});

it('forgets one that waits no longer', async () => {
  const budget = new ByteBudget({ bytes: 100 });
  const { admitted, take, settled } = taker(budget);
  const leaving = new AbortController();
  await take('first', 50);
  void take('large', 100, leaving.signal).catch(() => undefined);
  void take('small', 50);
  leaving.abort(new Error('gone'));
  await settled();
  expect(admitted.sort()).toEqual(['first', 'not large', 'small']);
  expect(budget.held).toBe(100);
  await expect(budget.take(1, leaving.signal)).rejects.toThrow('gone');
});
