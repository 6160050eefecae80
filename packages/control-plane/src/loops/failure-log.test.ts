import { describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../telemetry/logger.js';
import { FailureLog } from './failure-log.js';

function start() {
  const logger = silentLogger();
  const errors = vi.spyOn(logger, 'error');
  const infos = vi.spyOn(logger, 'info');
  const time = { nowMs: 0 };
  const log = new FailureLog({ logger, fields: { loop: 'sweeper' }, nowMs: () => time.nowMs });
  return { log, time, errors, infos };
}

const failure = (code: string) => Object.assign(new Error('away'), { code });

describe('what is logged of something that keeps failing', () => {
  it('is its first failure, each new code, and once a minute how often and for how long', () => {
    const { log, time, errors } = start();
    for (let second = 0; second <= 130; second += 1) {
      time.nowMs = second * 1_000;
      log.failed(failure(second === 30 ? '53300' : 'ECONNREFUSED'));
    }
    expect(errors.mock.calls.map(([fields, message]) => [message, fields])).toMatchObject([
      ['failed; it is tried again until it works', { loop: 'sweeper' }],
      ['still fails', { loop: 'sweeper', error: { code: '53300' }, failures: 31, forSeconds: 30 }],
      ['still fails', { failures: 91, forSeconds: 90 }],
    ]);
  });

  it('is that it works again, once, and a later failure is told anew', () => {
    const { log, time, errors, infos } = start();
    log.worked();
    log.failed(failure('ECONNREFUSED'));
    time.nowMs = 5_000;
    log.worked();
    log.worked();
    log.failed(failure('ECONNREFUSED'));
    expect(infos.mock.calls).toEqual([[{ loop: 'sweeper', failures: 1, forSeconds: 5 }, 'works again']]);
    expect(errors).toHaveBeenCalledTimes(2);
  });
});
