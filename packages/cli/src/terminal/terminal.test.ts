import type { Job, Progress } from '@batch-infer/sdk';
import { describe, expect, it } from 'vitest';
import { job, memoryIo } from '../../test-support/fixtures.js';
import { Settings } from '../settings/settings.js';
import { describeFailures, describeJob, summaryLine } from './describe-job.js';
import { formatCount, formatRate, formatSeconds, formatTable } from './format.js';
import { annotateProblems } from './github.js';
import { LineProgress, progressLine } from './progress.js';
import { Talk } from './talk.js';
import { toWireJson } from './wire-json.js';

const progress = (changes: Partial<Progress> = {}, jobChanges: Partial<Job> = {}): Progress => ({
  job: job({ status: 'running', phase: 'running', ...jobChanges }),
  completed: 1234,
  failed: 12,
  total: 5000,
  itemsPerSecond: 8.4,
  tokensPerSecond: 3100,
  etaSeconds: 420,
  ...changes,
});

describe('numbers for people', () => {
  it.each([
    [0, '0'],
    [999, '999'],
    [1234, '1 234'],
    [1_000_000, '1 000 000'],
  ])('counts %i as %s', (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  it.each([
    [8.43, '8.4'],
    [12, '12'],
    [3100, '3.1k'],
    [250_000, '250k'],
    [1_200_000, '1.2M'],
  ])('rates %d as %s', (rate, text) => {
    expect(formatRate(rate)).toBe(text);
  });

  it.each([
    [42, '42s'],
    [173, '3m'],
    [7300, '2h 2m'],
    [90_000, '1d 1h'],
  ])('times %i seconds as %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  it('lines columns up', () => {
    expect(
      formatTable([
        ['A', 'B'],
        ['long', 'x'],
      ]),
    ).toBe('A     B\nlong  x\n');
  });
});

describe('the progress line', () => {
  it('has counts, failures, rates and the time left', () => {
    expect(progressLine(progress())).toBe('1 234/5 000 · 12 failed · 8.4 items/s · 3.1k tok/s · ETA 7m');
  });

  it('leaves out what is not known, and says why nothing moves', () => {
    const waiting = progress(
      { completed: 0, failed: 0, itemsPerSecond: 0, tokensPerSecond: 0, etaSeconds: null },
      {
        queue: { position: 1, waitingFor: [{ code: 'no_runner_for_model', message: 'no runner serves m' }] },
      },
    );
    expect(progressLine(waiting)).toBe('0/5 000 · waiting: no runner serves m');
  });

  it('away from a terminal is written every 30 seconds, every 10 %, and when a new reason stays', () => {
    const lines: string[] = [];
    let nowMs = 0;
    const view = new LineProgress(
      (line) => lines.push(line),
      () => nowMs,
    );
    const at = (seconds: number, completed: number, reason = '') => {
      nowMs = seconds * 1000;
      const waitingFor = reason === '' ? [] : [{ code: 'x', message: reason }];
      view.update(progress({ completed }, { queue: { position: null, waitingFor } }));
      return lines.length;
    };
    expect([at(0, 0), at(1, 1), at(2, 499), at(3, 500), at(10, 510), at(34, 520)]).toEqual([
      1, 1, 1, 2, 2, 3,
    ]);
    expect([at(35, 520, 'gone'), at(36, 520, 'gone'), at(37, 520, 'gone')]).toEqual([3, 4, 4]);
    expect(lines.at(-1)).toContain('waiting: gone');
  });
});

describe('a job for people', () => {
  const failed = job({
    status: 'succeeded',
    phase: 'succeeded',
    counts: { total: 10, queued: 0, running: 0, succeeded: 8, failed: 2, cancelled: 0, expired: 0 },
    startedAt: new Date('2026-01-01T00:00:01Z'),
    finishedAt: new Date('2026-01-01T00:00:06Z'),
    usage: { inputTokens: 1500, cachedInputTokens: 0, outputTokens: 3000 },
    errors: [{ code: 'engine_error', message: 'It broke', count: 2, sample: { index: 4, customId: 'q-4' } }],
  });

  it('is summed up in one line', () => {
    expect(summaryLine(failed)).toBe(
      'job_1 succeeded · 10 items · 2 failed · 5.0s · 2 items/s · 1.5k tokens in, 3k out',
    );
  });

  it('says how many items took over an answer', () => {
    expect(summaryLine({ ...failed, reusedItems: 7 })).toContain('10 items · 2 failed · 7 reused · 5.0s');
  });

  it('names failures by cause with an example', () => {
    expect(describeFailures(failed)).toBe('  2 × engine_error: It broke (first: q-4, item 4)\n');
  });

  it('is described with its reason for waiting', () => {
    const text = describeJob(
      job({
        queue: { position: 3, waitingFor: [{ code: 'runners_busy', message: 'all runners are busy' }] },
      }),
      Date.parse('2026-01-01T00:01:00Z'),
    );
    expect(text).toContain('job_1  queued\n');
    expect(text).toContain('waiting   all runners are busy');
    expect(text).toContain('(1m ago)');
  });

  it('is spelled as the API spells it in JSON', () => {
    expect(toWireJson(job({ metadata: { myKey: 'v' } }))).toMatchObject({
      completion_window: '24h',
      created_at: new Date('2026-01-01T00:00:00Z'),
      metadata: { myKey: 'v' },
      queue: { waiting_for: [] },
    });
  });
});

describe('talk', () => {
  const talkOf = (io: ReturnType<typeof memoryIo>, flag?: string) =>
    new Talk(io, new Settings(new Map(flag === undefined ? [] : [[flag, { value: true, source: 'flag' }]])));

  it('is on stderr, and silent with --quiet except for warnings', () => {
    const io = memoryIo();
    talkOf(io, 'quiet').say('hello');
    talkOf(io, 'quiet').warn('careful');
    talkOf(io).say('hi');
    expect(io.error()).toBe('careful\nhi\n');
  });

  it('becomes events on stdout with --json', async () => {
    const io = memoryIo();
    const talk = talkOf(io, 'json');
    talk.say('hello');
    await talk.event('submitted', { job_id: 'job_1' });
    expect(io.error()).toBe('');
    expect(JSON.parse(io.out())).toMatchObject({
      event: 'submitted',
      job_id: 'job_1',
      at: expect.any(String),
    });
  });
});

describe('GitHub annotations', () => {
  const problem = { line: 3, param: null, code: 'x', message: 'bad, 100%\nreally' };

  it('point at the line, escaped', () => {
    const io = memoryIo({ GITHUB_ACTIONS: 'true' });
    annotateProblems(io, 'a,b:c.jsonl', [problem, { ...problem, line: null }]);
    expect(io.error()).toBe(
      '::error file=a%2Cb%3Ac.jsonl,line=3::bad, 100%25%0Areally\n::error file=a%2Cb%3Ac.jsonl::bad, 100%25%0Areally\n',
    );
  });

  it('stay away elsewhere', () => {
    const io = memoryIo();
    annotateProblems(io, 'a.jsonl', [problem]);
    expect(io.error()).toBe('');
  });
});
