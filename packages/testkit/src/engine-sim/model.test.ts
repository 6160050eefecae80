import { describe, expect, it } from 'vitest';
import { seededRandom } from '../chaos-transport/random.js';
import { StepModel } from './model.js';
import { formatModelEvent, type ModelEvent, type ModelOptions, type StepResult } from './model-types.js';
import { promptBlockHashes } from './prompt.js';

const STEP_TIME = { baseMs: 10, perTokenMs: 1, perSequenceMs: 0.5, perContextTokenMs: 0.25 };

function createModel(options: Partial<ModelOptions> = {}) {
  const events: ModelEvent[] = [];
  const model = new StepModel({ numGpuBlocks: 100, blockSize: 4, ...options }, (event) => events.push(event));
  return { model, events };
}

function runToEnd(model: StepModel): StepResult[] {
  const steps: StepResult[] = [];
  for (let step = model.advance(); step !== null; step = model.advance()) steps.push(step);
  return steps;
}

function finishedIds(steps: readonly StepResult[]): string[] {
  return steps.flatMap((step) => step.finished.map(({ id }) => id));
}

describe('StepModel', () => {
  it('computes a prompt in one step, which also gives the first token, and one token in each step after', () => {
    const { model } = createModel();
    model.submit({ id: 'a', promptTokens: 10, outputTokens: 3 });
    const steps = runToEnd(model);
    expect(steps.map((step) => step.scheduledTokens)).toEqual([10, 1, 1]);
    expect(steps.at(-1)?.finished).toMatchObject([
      { id: 'a', promptTokens: 10, outputTokens: 3, cachedTokens: 0 },
    ]);
    expect(model.idle).toBe(true);
    expect(model.gauges).toMatchObject({
      running: 0,
      kvCacheUsage: 0,
      promptTokens: 10,
      generationTokens: 3,
    });
  });

  it('ends a sequence without output with its prompt', () => {
    const { model } = createModel();
    model.submit({ id: 'a', promptTokens: 10, outputTokens: 0 });
    expect(finishedIds(runToEnd(model))).toEqual(['a']);
    expect(model.gauges.generationTokens).toBe(0);
  });

  it('takes the time that its four constants say', () => {
    const { model } = createModel({ stepTime: STEP_TIME });
    model.submit({ id: 'a', promptTokens: 10, outputTokens: 2 });
    expect(runToEnd(model).map((step) => step.durationMs)).toEqual([
      10 + 10 + 0.5 + 0.25 * 10,
      10 + 1 + 0.5 + 0.25 * 11,
    ]);
    expect(model.nowMs).toBe(23 + 14.25);
  });

  it('takes the time of its floor where the line lies under it', () => {
    const { model } = createModel({ stepTime: { ...STEP_TIME, floorMs: 20 } });
    model.submit({ id: 'a', promptTokens: 10, outputTokens: 2 });
    expect(runToEnd(model).map((step) => step.durationMs)).toEqual([10 + 10 + 0.5 + 0.25 * 10, 20]);
  });

  it('takes so many times as long while it is made slow', () => {
    const { model } = createModel({ stepTime: STEP_TIME });
    model.submit({ id: 'a', promptTokens: 10, outputTokens: 2 });
    model.setSlowness(4);
    expect(model.advance()?.durationMs).toBe(4 * 23);
    model.setSlowness(1);
    expect(model.advance()?.durationMs).toBe(14.25);
  });

  it('splits a prompt over the token budget, and decodes the running ones first', () => {
    const { model } = createModel({ maxNumBatchedTokens: 8 });
    model.submit({ id: 'a', promptTokens: 4, outputTokens: 5 });
    model.advance();
    model.submit({ id: 'b', promptTokens: 12, outputTokens: 1 });
    const steps = runToEnd(model);
    // One token for a, the rest of the budget for b's prompt: 7 + 5.
    expect(steps.map((step) => step.scheduledTokens)).toEqual([8, 6, 1, 1]);
    expect(finishedIds(steps)).toEqual(['b', 'a']);
  });

  it('never runs more sequences than max_num_seqs', () => {
    const { model } = createModel({ maxNumSeqs: 3 });
    for (let index = 0; index < 10; index += 1)
      model.submit({ id: `s${index}`, promptTokens: 4, outputTokens: 4 });
    model.advance();
    expect(model.gauges).toMatchObject({ running: 3, waiting: 7 });
    const steps = runToEnd(model);
    expect(Math.max(...steps.map((step) => step.sequences))).toBe(3);
    expect(finishedIds(steps)).toHaveLength(10);
  });

  it('does not let a small sequence pass a large one that waits for memory', () => {
    const { model } = createModel({ numGpuBlocks: 10 });
    model.submit({ id: 'running', promptTokens: 20, outputTokens: 4 });
    model.submit({ id: 'large', promptTokens: 32, outputTokens: 4 });
    model.submit({ id: 'small', promptTokens: 4, outputTokens: 4 });
    model.advance();
    expect(model.gauges).toMatchObject({ running: 1, waiting: 2 });
    expect(finishedIds(runToEnd(model))).toEqual(['running', 'large', 'small']);
  });

  it('hits a prefix that another sequence brings in the very same step', () => {
    const { model, events } = createModel();
    for (const id of ['a', 'b']) {
      const parts = [
        { key: 'system', tokens: 16 },
        { key: id, tokens: 5 },
      ];
      model.submit({ id, promptTokens: 21, outputTokens: 1, blockHashes: promptBlockHashes(parts, 4) });
    }
    const step = model.advance();
    expect(step?.scheduledTokens).toBe(21 + 5);
    expect(events.filter(({ kind }) => kind === 'admit')).toMatchObject([
      { cachedTokens: 0 },
      { cachedTokens: 16 },
    ]);
    expect(model.gauges).toMatchObject({ prefixCacheQueries: 42, prefixCacheHits: 16 });
  });

  it('computes at least one token of a prompt that is cached whole', () => {
    const { model } = createModel();
    const blockHashes = promptBlockHashes([{ key: 'same', tokens: 16 }], 4);
    model.submit({ id: 'a', promptTokens: 16, outputTokens: 1, blockHashes });
    runToEnd(model);
    model.submit({ id: 'b', promptTokens: 16, outputTokens: 1, blockHashes });
    expect(model.advance()).toMatchObject({ scheduledTokens: 4, finished: [{ cachedTokens: 12 }] });
  });

  it('shares nothing when prefix caching is off', () => {
    const { model } = createModel({ prefixCaching: false });
    const blockHashes = promptBlockHashes([{ key: 'same', tokens: 16 }], 4);
    for (const id of ['a', 'b']) model.submit({ id, promptTokens: 16, outputTokens: 1, blockHashes });
    expect(model.advance()?.scheduledTokens).toBe(32);
  });

  it('forgets the prefix used longest ago when memory is short', () => {
    const { model } = createModel({ numGpuBlocks: 10 });
    const cachedTokens = (key: string) => {
      const blockHashes = promptBlockHashes([{ key, tokens: 17 }], 4);
      model.submit({ id: key, promptTokens: 17, outputTokens: 1, blockHashes });
      return runToEnd(model).at(-1)?.finished[0]?.cachedTokens;
    };
    expect([cachedTokens('old'), cachedTokens('young'), cachedTokens('young')]).toEqual([0, 0, 16]);
    expect([cachedTokens('new'), cachedTokens('young'), cachedTokens('old')]).toEqual([0, 16, 0]);
  });

  it('preempts the newest sequence when memory runs out, and computes it again later', () => {
    const { model, events } = createModel({ numGpuBlocks: 6, prefixCaching: false });
    model.submit({ id: 'first', promptTokens: 8, outputTokens: 10 });
    model.submit({ id: 'second', promptTokens: 8, outputTokens: 10 });
    const steps = runToEnd(model);
    expect(finishedIds(steps)).toEqual(['first', 'second']);
    expect(events.filter(({ kind }) => kind === 'preempt')).toMatchObject([{ id: 'second' }]);
    expect(model.gauges).toMatchObject({ preemptions: 1, generationTokens: 20, kvCacheUsage: 0 });
    // The second comes back with prompt and generated tokens together.
    const again = steps.filter((step) => step.scheduledTokens > 1).at(-1);
    expect(again?.scheduledTokens).toBeGreaterThan(8);
    expect(steps.at(-1)?.finished[0]?.preemptions).toBe(1);
  });

  it('under priority, admits lower numbers first and preempts the highest number', () => {
    const { model, events } = createModel({
      schedulingPolicy: 'priority',
      numGpuBlocks: 6,
      prefixCaching: false,
    });
    model.submit({ id: 'unimportant', promptTokens: 8, outputTokens: 10, priority: 5 });
    model.submit({ id: 'important', promptTokens: 8, outputTokens: 10, priority: -1 });
    expect(finishedIds(runToEnd(model))).toEqual(['important', 'unimportant']);
    expect(events.filter(({ kind }) => kind === 'admit')).toMatchObject([
      { id: 'important' },
      { id: 'unimportant' },
      { id: 'unimportant' },
    ]);
  });

  it('frees memory and place of an aborted sequence at once, also while a step runs', () => {
    const { model } = createModel({ maxNumSeqs: 1 });
    model.submit({ id: 'a', promptTokens: 8, outputTokens: 100 });
    model.submit({ id: 'b', promptTokens: 8, outputTokens: 1 });
    model.submit({ id: 'c', promptTokens: 8, outputTokens: 1 });
    model.beginStep();
    expect(model.abort('a')).toBe(true);
    expect(model.abort('c')).toBe(true);
    expect(model.abort('a')).toBe(false);
    expect(model.gauges).toMatchObject({ running: 0, waiting: 1, kvCacheUsage: 0 });
    expect(model.finishStep().finished).toEqual([]);
    expect(finishedIds(runToEnd(model))).toEqual(['b']);
  });

  it('admits less when KV memory shrinks, and all of it when it is back', () => {
    const { model } = createModel({ numGpuBlocks: 10 });
    model.setKvShare(0.5);
    for (const id of ['a', 'b']) model.submit({ id, promptTokens: 16, outputTokens: 2 });
    model.advance();
    expect(model.gauges.running).toBe(1);
    model.setKvShare(1);
    model.advance();
    expect(model.gauges.waiting).toBe(0);
  });

  it('refuses a sequence larger than KV memory, and an id in use', () => {
    const { model } = createModel({ numGpuBlocks: 10 });
    expect(() => model.submit({ id: 'a', promptTokens: 40, outputTokens: 1 })).toThrow(RangeError);
    model.submit({ id: 'a', promptTokens: 4, outputTokens: 1 });
    expect(() => model.submit({ id: 'a', promptTokens: 4, outputTokens: 1 })).toThrow(RangeError);
  });

  it('keeps two steps from overlapping', () => {
    const { model } = createModel();
    expect(() => model.finishStep()).toThrow('no step has begun');
    model.submit({ id: 'a', promptTokens: 4, outputTokens: 1 });
    model.beginStep();
    expect(() => model.beginStep()).toThrow('has not been finished');
  });

  describe.each(Array.from({ length: 10 }, (_, index) => index + 1))('with seed %i', (seed) => {
    it.each(['fcfs', 'priority'] as const)(
      'ends every sequence within the limits under %s',
      (schedulingPolicy) => {
        const { steps, model } = runRandomWork(seed, schedulingPolicy);
        expect(new Set(finishedIds(steps)).size).toBe(200);
        for (const step of steps) {
          expect(step.scheduledTokens).toBeLessThanOrEqual(64);
          expect(step.sequences).toBeLessThanOrEqual(16);
        }
        expect(model.gauges).toMatchObject({ running: 0, waiting: 0, kvCacheUsage: 0 });
        expect(model.gauges.preemptions).toBeGreaterThan(0);
      },
    );

    it('writes the same event log, byte by byte, and another seed writes another', () => {
      const log = (logSeed: number) => runRandomWork(logSeed, 'fcfs').events.map(formatModelEvent).join('\n');
      expect(log(seed)).toBe(log(seed));
      expect(log(seed)).not.toBe(log(seed + 100));
    });
  });
});

/** 200 sequences of random sizes and shared prefixes on an engine that is short of memory. */
function runRandomWork(seed: number, schedulingPolicy: ModelOptions['schedulingPolicy']) {
  const random = seededRandom(seed);
  const { model, events } = createModel({
    seed,
    schedulingPolicy,
    jitter: 0.1,
    maxNumBatchedTokens: 64,
    maxNumSeqs: 16,
    numGpuBlocks: 60,
  });
  const steps: StepResult[] = [];
  for (let index = 0; index < 200; index += 1) {
    const own = 1 + Math.floor(random() * 30);
    const parts = [
      { key: `group ${Math.floor(random() * 5)}`, tokens: 20 },
      { key: `item ${index}`, tokens: own },
    ];
    model.submit({
      id: `s${index}`,
      promptTokens: 20 + own,
      outputTokens: 1 + Math.floor(random() * 40),
      blockHashes: promptBlockHashes(parts, 4),
      priority: Math.floor(random() * 3),
    });
    const step = random() < 0.3 ? model.advance() : null;
    if (step !== null) steps.push(step);
  }
  steps.push(...runToEnd(model));
  return { model, events, steps };
}
