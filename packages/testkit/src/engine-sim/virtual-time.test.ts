import { describe, expect, it } from 'vitest';
import { seededRandom, shuffled } from '../chaos-transport/random.js';
import { StepModel } from './model.js';
import type { ModelOptions, SequenceRequest } from './model-types.js';
import { promptBlockHashes } from './prompt.js';
import { VirtualEngine, VirtualTimeline } from './virtual-time.js';

describe('VirtualTimeline', () => {
  it('runs events in order of time, and in order of entry at one time', () => {
    const timeline = new VirtualTimeline();
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name}@${timeline.nowMs}`);
    timeline.after(30, note('c'));
    timeline.after(10, note('a1'));
    timeline.after(10, () => {
      note('a2')();
      timeline.after(5, note('b'));
      timeline.after(0, note('a3'));
    });
    expect(timeline.run()).toBe(30);
    expect(seen).toEqual(['a1@10', 'a2@10', 'a3@10', 'b@15', 'c@30']);
  });

  it('stops at the given time and goes on from there', () => {
    const timeline = new VirtualTimeline();
    const seen: number[] = [];
    for (const delayMs of [40, 20, 60]) timeline.after(delayMs, () => seen.push(delayMs));
    expect(timeline.run(50)).toBe(50);
    expect(seen).toEqual([20, 40]);
    timeline.run();
    expect(seen).toEqual([20, 40, 60]);
  });

  it('sorts many events', () => {
    const timeline = new VirtualTimeline();
    const random = seededRandom(7);
    const seen: number[] = [];
    for (let index = 0; index < 500; index += 1)
      timeline.after(random() * 100, () => seen.push(timeline.nowMs));
    timeline.run();
    expect(seen).toEqual([...seen].sort((first, second) => first - second));
    expect(seen).toHaveLength(500);
  });
});

/** Sends items with at most `window` in flight; returns the virtual time until the last one ends. */
function makespanMs(
  items: readonly SequenceRequest[],
  window: number,
  options: Partial<ModelOptions> = {},
): number {
  const timeline = new VirtualTimeline();
  const queue = [...items];
  const next = () => {
    const item = queue.shift();
    if (item !== undefined) engine.submit(item);
  };
  const engine = new VirtualEngine(timeline, new StepModel(options), next);
  for (let index = 0; index < window; index += 1) next();
  const endMs = timeline.run();
  if (!engine.model.idle) throw new Error('the engine stalled');
  return endMs;
}

describe('VirtualEngine', () => {
  it('puts everything submitted at one instant into one step', () => {
    const timeline = new VirtualTimeline();
    const finished: string[] = [];
    const engine = new VirtualEngine(timeline, new StepModel(), ({ id }) => finished.push(id));
    for (const id of ['a', 'b', 'c']) engine.submit({ id, promptTokens: 10, outputTokens: 1 });
    timeline.run(1);
    expect(engine.model.gauges.running).toBe(3);
    expect(engine.abort('b')).toBe(true);
    timeline.run();
    expect(finished).toEqual(['a', 'c']);
  });

  it('shows that a window below the engine costs throughput', () => {
    const items = Array.from({ length: 1000 }, (_, index) => ({
      id: `s${index}`,
      promptTokens: 200,
      outputTokens: 100,
    }));
    const everything = makespanMs(items, items.length);
    expect(makespanMs(items, 16) / everything).toBeGreaterThan(2);
    expect(makespanMs(items, 260) / everything).toBeLessThan(1.05);
  });

  it('shows that items of one prefix belong together', () => {
    const groups = 100;
    const items = Array.from({ length: 2000 }, (_, index) => {
      const parts = [
        { key: `group ${index % groups}`, tokens: 4000 },
        { key: `item ${index}`, tokens: 50 },
      ];
      return {
        id: `s${index}`,
        group: index % groups,
        promptTokens: 4050,
        outputTokens: 8,
        blockHashes: promptBlockHashes(parts, 16),
      };
    });
    const grouped = items.toSorted((first, second) => first.group - second.group);
    const random = shuffled(items, seededRandom(3));
    const options = { numGpuBlocks: 4096 };
    const ratio = makespanMs(grouped, 300, options) / makespanMs(random, 300, options);
    expect(ratio).toBeLessThan(0.25);
  });
});
