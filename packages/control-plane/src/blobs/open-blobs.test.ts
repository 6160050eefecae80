import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openBlobs, parseBlobsUrl } from './open-blobs.js';

describe('the blob store of the settings', () => {
  it('is a folder in the data folder when no other is named', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'batch-infer-blobs-'));
    const blobs = await openBlobs({ dataDir, blobsUrl: null, s3Endpoint: null });
    await blobs.put({ key: 'a', body: new Uint8Array(3) });
    expect(await blobs.head({ key: 'a' })).toMatchObject({ bytes: 3 });
    await blobs.close();
    rmSync(dataDir, { recursive: true });
  });

  it.each([
    ['s3://bucket', { bucket: 'bucket', prefix: '' }],
    ['s3://my-bucket.2/', { bucket: 'my-bucket.2', prefix: '' }],
    ['s3://bucket/some/prefix/', { bucket: 'bucket', prefix: 'some/prefix' }],
  ])('is read from %s', (url, expected) => {
    expect(parseBlobsUrl(url)).toEqual(expected);
  });

  it.each(['', 'bucket', 's3:/bucket', 's3://', 's3://Bad_Bucket', 'https://host/bucket'])(
    'is refused as %j',
    (url) => {
      expect(() => parseBlobsUrl(url)).toThrow(RangeError);
    },
  );
});
