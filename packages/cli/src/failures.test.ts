import { NotFoundError } from '@batch-infer/sdk';
import { describe, expect, it } from 'vitest';
import { memoryIo } from '../test-support/fixtures.js';
import { reportFailure } from './failures.js';

const said = async (code: string) => {
  const io = memoryIo();
  const exitCode = await reportFailure(
    new NotFoundError('Not Found', { status: 404, code, retryable: false }),
    io,
  );
  return { exitCode, error: io.error() };
};

describe('an answer of 404', () => {
  it('of ours says where the jobs are', async () => {
    expect(await said('not_found')).toEqual({
      exitCode: 2,
      error: expect.stringContaining('batch-infer list'),
    });
  });

  it('of an engine says that this is no batch-infer server', async () => {
    expect(await said('http_404')).toEqual({
      exitCode: 9,
      error: expect.stringContaining('no batch-infer server'),
    });
  });
});
