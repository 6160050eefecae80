import { join } from 'node:path';
import type { Blobs } from '../ports/blobs.js';
import { openFolderBlobs } from './fs.js';
import { withResumingReads } from './resuming-reads.js';
import { openS3Blobs } from './s3.js';

/**
 * Opens the store that the settings name: `s3://bucket/prefix`, or the folder `blobs` in the data folder.
 * @throws {RangeError} when `blobsUrl` is not of that form
 */
export async function openBlobs(settings: {
  readonly dataDir: string;
  readonly blobsUrl: string | null;
  readonly s3Endpoint: string | null;
}): Promise<Blobs> {
  if (settings.blobsUrl === null) return openFolderBlobs(join(settings.dataDir, 'blobs'));
  return withResumingReads(
    await openS3Blobs({ ...parseBlobsUrl(settings.blobsUrl), endpoint: settings.s3Endpoint }),
  );
}

export function parseBlobsUrl(url: string): { bucket: string; prefix: string } {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(url);
  const [, bucket, prefix = ''] = match ?? [];
  if (bucket === undefined) {
    throw new RangeError('The blob store must be named as s3://bucket or s3://bucket/prefix.');
  }
  return { bucket, prefix: prefix.replace(/\/+$/, '') };
}
