import { stackEnvironment, stackVariable } from '@batch-infer/testkit/stack-environment';
import { describe, vi } from 'vitest';
import { blobsConformance } from './blobs-conformance.js';
import { parseBlobsUrl } from './open-blobs.js';
import { openS3Blobs } from './s3.js';

const endpoint = stackVariable('BATCH_INFER_S3_ENDPOINT', 'blobs on S3');

describe.runIf(endpoint !== null)('with a real server', () => {
  blobsConformance('a bucket', async () => {
    const environment = stackEnvironment();
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_REGION']) {
      vi.stubEnv(name, environment[name] ?? '');
    }
    const { bucket, prefix } = parseBlobsUrl(environment.BATCH_INFER_BLOBS ?? 's3://batch-infer');
    const blobs = await openS3Blobs({ bucket, prefix: `${prefix}conformance-suite`, endpoint });
    // Credentials are read by the first request.
    await blobs.check();
    return { blobs, close: () => blobs.close() };
  });
});
