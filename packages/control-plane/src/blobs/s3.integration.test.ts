import { randomBytes, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { startTcpFaultProxy } from '@batch-infer/testkit';
import { stackEnvironment, stackVariable } from '@batch-infer/testkit/stack-environment';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { blobsConformance } from './blobs-conformance.js';
import { parseBlobsUrl } from './open-blobs.js';
import { openS3Blobs } from './s3.js';

const endpoint = stackVariable('BATCH_INFER_S3_ENDPOINT', 'blobs on S3');
const environment = stackEnvironment();
const { bucket, prefix } = parseBlobsUrl(environment.BATCH_INFER_BLOBS ?? 's3://batch-infer');

const open = async (options: {
  folder: string;
  staleUploadMs?: number;
  silenceMs?: number;
  endpoint?: string;
}) => {
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_REGION']) {
    vi.stubEnv(name, environment[name] ?? '');
  }
  const { folder, ...rest } = options;
  const blobs = await openS3Blobs({
    bucket,
    prefix: prefix === '' ? folder : `${prefix}/${folder}`,
    endpoint,
    ...rest,
  });
  // The SDK reads credentials at the first request.
  await blobs.check();
  return blobs;
};

describe.runIf(endpoint !== null)('with a real server', () => {
  blobsConformance('a bucket', async () => {
    const blobs = await open({ folder: 'conformance-suite' });
    return { blobs, close: () => blobs.close() };
  });

  it('connections that go silent fail within their deadline, and new ones are made', async () => {
    const url = new URL(endpoint ?? '');
    const proxy = await startTcpFaultProxy({ targetHost: url.hostname, targetPort: Number(url.port) });
    const blobs = await open({
      folder: `silent-${randomUUID()}`,
      silenceMs: 500,
      endpoint: `http://127.0.0.1:${proxy.port}`,
    });
    try {
      const put = () => blobs.put({ key: 'silent/object', body: Buffer.from('x') });
      await put();
      proxy.stall();
      await expect(put()).rejects.toThrow();
      await expect(blobs.get({ key: 'silent/object' })).rejects.toThrow();
      await proxy.pass();
      await put();
      await blobs.delete({ key: 'silent/object' });
    } finally {
      await blobs.close();
      await proxy.close();
    }
  });

  describe('unfinished uploads', () => {
    const folder = `uploads-${randomUUID()}`;
    const keyPrefix = prefix === '' ? folder : `${prefix}/${folder}`;
    let s3: S3Client;
    beforeAll(() => {
      s3 = new S3Client({
        endpoint: endpoint ?? '',
        forcePathStyle: true,
        region: environment.AWS_REGION ?? '',
        credentials: {
          accessKeyId: environment.AWS_ACCESS_KEY_ID ?? '',
          secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? '',
        },
      });
    });
    afterAll(() => s3.destroy());

    const uploads = async (): Promise<string[]> => {
      const page = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: keyPrefix }));
      return (page.Uploads ?? []).map(({ Key: key }) => key ?? '');
    };

    it('of a source that failed leave no part behind', async () => {
      const blobs = await open({ folder });
      async function* body() {
        yield randomBytes(17 * 1024 * 1024);
        throw new Error('the client went away');
      }
      await expect(blobs.put({ key: 'failed', body: Readable.from(body()) })).rejects.toThrow('went away');
      await expect.poll(uploads).toEqual([]);
      await blobs.close();
    });

    it('of a dead process are aborted once they are old, and only under our prefix', async () => {
      const begin = async (Key: string) => {
        const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
        await s3.send(
          new UploadPartCommand({ Bucket: bucket, Key, UploadId, PartNumber: 1, Body: randomBytes(10) }),
        );
      };
      await begin(`${keyPrefix}/left`);
      await begin(`${keyPrefix}-other/left`);
      await (await open({ folder })).close();
      expect((await uploads()).toSorted()).toEqual([`${keyPrefix}-other/left`, `${keyPrefix}/left`]);
      await (await open({ folder, staleUploadMs: -60_000 })).close();
      expect(await uploads()).toEqual([`${keyPrefix}-other/left`]);
      await (await open({ folder: `${folder}-other`, staleUploadMs: -60_000 })).close();
      expect(await uploads()).toEqual([]);
    });
  });
});
