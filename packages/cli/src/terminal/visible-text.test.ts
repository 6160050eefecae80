import { describe, expect, it } from 'vitest';
import { job, memoryIo } from '../../test-support/fixtures.js';
import { reportFailure } from '../failures.js';
import { formatLogLine } from '../local/log-line.js';
import { readyLine } from '../local/ready-line.js';
import { describeJob } from './describe-job.js';
import { formatTable } from './format.js';
import { annotateProblems } from './github.js';
import { visible, visibleLines } from './visible-text.js';

/** Title, screen, clipboard; C1; a line of its own that GitHub Actions would obey; words in another order. */
const HOSTILE =
  'x\u001b]0;T\u0007\u001b[2J\u001b]52;c;cm0=\u0007\u009b31m\u007f\r\n::warning::injected\u202e\u2028y';
const STEERING = /(?!\n)[\p{Cc}\u2028-\u202e\u2066-\u2069]/u;

describe('foreign text', () => {
  it('is shown with every control character as a sign', () => {
    expect(visible('a\u001b[31m\n\t\u007f\u009b\u202e\u2066é日')).toBe(
      'a␛[31m␊␉\\u007f\\u009b\\u202e\\u2066é日',
    );
    expect(visibleLines('a\u001b\nb')).toBe('a␛\nb');
  });

  it('that is data stays the same JSON', () => {
    const line = JSON.stringify({ text: 'a\u009b\u007f\u202e' });
    expect(JSON.parse(visibleLines(line))).toEqual(JSON.parse(line));
  });

  const hostileJob = job({
    models: [HOSTILE],
    metadata: { [HOSTILE]: HOSTILE },
    queue: { position: 1, waitingFor: [{ reason: 'no_runner_for_model', message: HOSTILE }] } as never,
    errors: [{ code: HOSTILE, count: 1, message: HOSTILE, sample: { customId: HOSTILE, index: 0 } }] as never,
    inputErrors: [{ line: null, message: HOSTILE }] as never,
  });

  it.each([
    [
      'a table',
      formatTable([
        ['JOB', HOSTILE],
        [HOSTILE, 'b'],
      ]),
      2,
    ],
    ['a job', describeJob(hostileJob, 0), 10],
    ['a log line', formatLogLine(JSON.stringify({ level: 40, msg: HOSTILE, model: HOSTILE })), 0],
    ['a ready line', readyLine('runner', HOSTILE), 1],
  ])('in %s neither steers a terminal nor begins a line', (_name, text, lineBreaks) => {
    expect(text).not.toMatch(STEERING);
    expect(text.split('\n')).toHaveLength(lineBreaks + 1);
    expect(text).not.toMatch(/^\s*::/m);
  });

  it('in an error issues no command of GitHub Actions; annotations of ours do', async () => {
    const io = memoryIo({ GITHUB_ACTIONS: 'true' });
    await reportFailure(new Error(`${HOSTILE}\n  ::add-mask::x\n##[error]x`), io);
    expect(io.error()).not.toMatch(/^\s*::|##\[/m);
    expect(io.error().replaceAll('\n', '')).not.toMatch(STEERING);
    annotateProblems(io, 'f', [{ line: 1, message: HOSTILE }] as never);
    expect(io.error().match(/^::.*$/gm)).toEqual([expect.stringMatching(/^::error file=f,line=1::/)]);
  });
});
