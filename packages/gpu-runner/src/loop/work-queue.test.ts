import type { Priority } from '@batch-infer/contracts';
import { describe, expect, test } from 'vitest';
import type { Queued } from './job-queue.js';
import { WorkQueue } from './work-queue.js';

interface Unit extends Queued {
  readonly name: string;
}

const shard = (jobId: string, priority: Priority = 'normal', jobEndsAtMs = 86_400_000) => ({
  lease: { job_id: jobId, priority },
  jobEndsAtMs,
});

const unit = (run: Queued['run'], name: string, tokens = 100, prefixKey = 0): Unit => ({
  ...{ run, name, tokens, prefixKey },
});

const queueAt = (nowMs = 0, itemsPerSecond = 0): WorkQueue<Unit> =>
  new WorkQueue<Unit>({ nowMs: () => nowMs, itemsPerSecond: () => itemsPerSecond });

function fill(queue: WorkQueue<Unit>, run: Queued['run'], names: readonly string[], home = 'A', key = 0) {
  for (const name of names) queue.push(unit(run, name, 100, key), home);
}

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

function drain(queue: WorkQueue<Unit>, engine = 'A'): string[] {
  const taken: string[] = [];
  for (let item = queue.take(engine); item !== null; item = queue.take(engine)) taken.push(item.name);
  return taken;
}

describe('the order of waiting items', () => {
  test('is that of the job, shard after shard, although shards are read at the same time', () => {
    const queue = queueAt();
    const [first, second] = [shard('job'), shard('job')];
    for (let index = 0; index < 100; index += 1) {
      queue.push(unit(first, `a${index}`), 'A');
      queue.push(unit(second, `b${index}`), 'A');
    }
    expect(queue.size).toBe(200);
    expect(drain(queue)).toEqual([...names('a', 100), ...names('b', 100)]);
    expect(queue.size).toBe(0);
  });

  test('puts higher priorities first, and within one those that are tried again', () => {
    const queue = queueAt();
    fill(queue, shard('low', 'low'), ['l']);
    fill(queue, shard('normal'), ['n']);
    queue.pushRetry(unit(shard('normal'), 'again'));
    fill(queue, shard('high', 'high'), ['h']);
    expect(drain(queue)).toEqual(['h', 'again', 'n', 'l']);
  });

  test('prefers fresh items where an engine is being tried', () => {
    const queue = queueAt();
    queue.pushRetry(unit(shard('job'), 'again'));
    fill(queue, shard('job'), ['fresh']);
    expect(queue.take('A', true)?.name).toBe('fresh');
  });

  test('leaves out a shard that was taken away', () => {
    const queue = queueAt();
    const [kept, removed] = [shard('job'), shard('job')];
    fill(queue, removed, names('r', 70));
    fill(queue, kept, names('k', 3));
    queue.pushRetry(unit(removed, 'again'));
    queue.take('A');
    queue.remove(removed);
    expect(queue.size).toBe(3);
    expect(drain(queue)).toEqual(names('k', 3));
  });
});

describe('jobs beside each other', () => {
  test('take turns of 64 items', () => {
    const queue = queueAt();
    fill(queue, shard('a'), names('a', 200));
    fill(queue, shard('b'), names('b', 200));
    const jobs = drain(queue).map((name) => name[0]);
    expect(jobs.slice(0, 64).every((job) => job === 'a')).toBe(true);
    expect(jobs.slice(64, 128).every((job) => job === 'b')).toBe(true);
    expect(jobs.slice(128, 192).every((job) => job === 'a')).toBe(true);
  });

  test('are served alike in tokens, not in items', () => {
    const queue = queueAt();
    const [long, short] = [shard('long'), shard('short')];
    for (let index = 0; index < 2_000; index += 1) {
      queue.push(unit(long, 'l', 10_000), 'A');
      queue.push(unit(short, 's', 1_000), 'A');
    }
    const served = { l: 0, s: 0 };
    for (let taken = 0; taken < 1_200; taken += 1) {
      const item = queue.take('A');
      if (item !== null) served[item.name === 'l' ? 'l' : 's'] += item.tokens;
    }
    expect(served.l / served.s).toBeGreaterThan(0.8);
    expect(served.l / served.s).toBeLessThan(1.25);
  });

  test('a turn of large items ends by its tokens', () => {
    const queue = queueAt();
    const [a, b] = [shard('a'), shard('b')];
    for (let index = 0; index < 10; index += 1) {
      queue.push(unit(a, 'a', 131_072), 'A');
      queue.push(unit(b, 'b', 131_072), 'A');
    }
    expect(drain(queue).slice(0, 6).join('')).toBe('aabbaa');
  });

  test('a newcomer is not owed what others were served before, nor is one that paused', () => {
    const queue = queueAt();
    const a = shard('a');
    fill(queue, a, names('a', 640));
    for (let taken = 0; taken < 320; taken += 1) queue.take('A');
    fill(queue, shard('b'), names('b', 640));
    const next = Array.from({ length: 384 }, () => queue.take('A')?.name[0] ?? '');
    expect(next.filter((job) => job === 'b').length).toBeLessThanOrEqual(256);
  });

  test('one that is short of time goes first', () => {
    const queue = queueAt(50_000, 10);
    fill(queue, shard('relaxed'), names('r', 100));
    // 100 items at 10 a second need 10 s, and 15 s are left.
    fill(queue, shard('urgent', 'normal', 65_000), names('u', 100));
    expect(drain(queue).slice(0, 64)).toEqual(names('u', 64));
  });
});

describe('several engines', () => {
  test('each gets what is at home at it', () => {
    const queue = queueAt();
    const run = shard('job');
    fill(queue, run, ['a0', 'a1'], 'A', 1);
    fill(queue, run, ['b0', 'b1'], 'B', 2);
    expect([queue.take('B')?.name, queue.take('A')?.name, queue.take('B')?.name]).toEqual(['b0', 'a0', 'b1']);
  });

  test('one without anything takes a whole group from the longest queue, the one that would be sent last', () => {
    const queue = queueAt();
    const run = shard('job');
    fill(queue, run, names('short', 10), 'B', 1);
    fill(queue, run, names('first', 64), 'A', 2);
    fill(queue, run, names('last', 64), 'A', 3);
    expect(queue.take('C')?.name).toBe('last0');
    expect(drain(queue, 'A').slice(0, 64)).toEqual(names('first', 64));
  });

  test('one is never idle while anything waits, and nothing is sent twice', () => {
    const queue = queueAt();
    const runs = [shard('x'), shard('y'), shard('y')];
    for (let index = 0; index < 999; index += 1) {
      const run = runs[index % 3] ?? shard('x');
      queue.push(unit(run, `i${index}`, 100, index % 7), ['A', 'B', 'C'][index % 5] ?? 'A');
    }
    const taken = new Set<string>();
    for (let turn = 0; queue.size > 0; turn += 1) {
      const item = queue.take(['A', 'B', 'C', 'D'][turn % 4] ?? 'A');
      expect(item).not.toBeNull();
      if (item !== null) taken.add(item.name);
    }
    expect(taken.size).toBe(999);
  });

  test('higher priorities are taken from others before lower ones of its own', () => {
    const queue = queueAt();
    fill(queue, shard('own'), ['own'], 'A');
    fill(queue, shard('other', 'high'), ['other'], 'B');
    expect(queue.take('A')?.name).toBe('other');
  });
});
