import { describe, expect, it } from 'vitest';
import { formatLogLine } from './log-line.js';

const logged = (fields: Record<string, unknown>) => formatLogLine(JSON.stringify(fields));

describe('a log line for people', () => {
  it('keeps what the line is about: job, loop, reason', () => {
    expect(
      logged({
        level: 'error',
        time: '2026-01-01T00:00:00Z',
        service: 'control-plane',
        loop: 'finalizer',
        jobId: 'job_1',
        reason: 'blob not found: segments/1',
        msg: 'failed; it is tried again',
      }),
    ).toBe(
      'error: failed; it is tried again (loop=finalizer jobId=job_1 reason="blob not found: segments/1")',
    );
    expect(
      logged({ level: 40, time: 1, pid: 7, hostname: 'h', name: 'runner', msg: 'slow', items: 3, ok: false }),
    ).toBe('warn: slow (items=3 ok=false)');
  });

  it('says why for errors, without their stack', () => {
    const err = { type: 'Error', message: 'connect refused', code: 'ECONNREFUSED', stack: 'Error: …\n at x' };
    expect(logged({ level: 50, err, msg: 'no database' })).toBe(
      'error: no database (err="connect refused (ECONNREFUSED)")',
    );
  });

  it('passes on nothing that steers a terminal or fills it', () => {
    const line = logged({ level: 30, reason: '\u001b[2Jgone\n', list: 'x y'.repeat(1_000), msg: 'text' });
    expect([...line].every((character) => character >= ' ')).toBe(true);
    expect(line.length).toBeLessThan(700);
  });

  it('has no brackets without fields, and leaves other lines as they are', () => {
    expect(logged({ level: 30, msg: 'text', nothing: null })).toBe('info: text');
    for (const line of ['plain', '{broken', '{"level":30}']) expect(formatLogLine(line)).toBe(line);
  });
});
