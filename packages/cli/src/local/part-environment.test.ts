import { describe, expect, it } from 'vitest';
import { environmentOfPart } from './part-environment.js';

describe('a part of a local stack', () => {
  const environment = {
    ...{ PATH: '/bin', BATCH_INFER_LOG_LEVEL: 'warn', BATCH_INFER_KAFKA_SASL_PASSWORD: 'k' },
    ...{ BATCH_INFER_API_KEY: 'a', BATCH_INFER_ENGINE_API_KEY: 'e', BATCH_INFER_LAUNCH: 'l' },
    ...{
      BATCH_INFER_DATABASE_URL: 'd',
      BATCH_INFER_LATER_SECRET: 's',
      AWS_SECRET_ACCESS_KEY: 'x',
      PGPASSWORD: 'p',
    },
  };
  const inherited = (part: 'serve' | 'runner', more: Record<string, string> = {}) =>
    Object.keys(environmentOfPart(part, { ...environment, ...more })).toSorted();

  it('inherits its own variables and no credentials of the other one', () => {
    const common = ['BATCH_INFER_KAFKA_SASL_PASSWORD', 'BATCH_INFER_LOG_LEVEL', 'PATH'];
    const ofRunner = ['BATCH_INFER_API_KEY', 'BATCH_INFER_ENGINE_API_KEY', 'BATCH_INFER_LAUNCH'];
    const ofServe = [
      'AWS_SECRET_ACCESS_KEY',
      'BATCH_INFER_DATABASE_URL',
      'BATCH_INFER_LATER_SECRET',
      'PGPASSWORD',
    ];
    expect(inherited('runner')).toEqual([...common, ...ofRunner].toSorted());
    expect(inherited('serve')).toEqual([...common, ...ofServe].toSorted());
  });

  it('passes on to the runner what its engine is to have', () => {
    expect(inherited('runner', { BATCH_INFER_LAUNCH_ENV: 'AWS_SECRET_ACCESS_KEY' })).toContain(
      'AWS_SECRET_ACCESS_KEY',
    );
  });
});
