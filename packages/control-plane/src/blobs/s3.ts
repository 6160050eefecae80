import { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import { reportProgress } from '../loops/progress.js';
import {
  type BlobHead,
  BlobMissingError,
  type Blobs,
  type ListedBlob,
  StorageFullError,
} from '../ports/blobs.js';
import { assertKey } from './keys.js';

export interface S3BlobsOptions {
  readonly bucket: string;
  /** Put before each key, with a slash between; empty for none. */
  readonly prefix: string;
  /** `null`: AWS. Buckets are then named in the path, which every S3 server understands. */
  readonly endpoint: string | null;
  /** Age at which an unfinished upload is taken for one of a dead process; 24 hours. */
  readonly staleUploadMs?: number;
  /** Silence after which a request has failed; 20 s. */
  readonly silenceMs?: number;
}

const PART_BYTES = 8 * 1024 * 1024;
const PARTS_AT_ONCE = 2;
const LIST_LIMIT = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
const SOCKET_TIMEOUT_MS = 20_000;
/** Written by `check`, by every process. */
const CHECK_KEY = 'check/writable';
const CHECK_WRITE_INTERVAL_MS = 600_000;
const STALE_UPLOAD_MS = 24 * 3_600_000;

/**
 * Blobs in a bucket. Region and credentials come from where the AWS SDK looks for them (`AWS_REGION`,
 * `AWS_ACCESS_KEY_ID`, …). The first successful `check` aborts the multipart uploads that dead processes left.
 */
export async function openS3Blobs(options: S3BlobsOptions): Promise<Blobs> {
  const [client, storage] = await Promise.all([import('@aws-sdk/client-s3'), import('@aws-sdk/lib-storage')]);
  const s3 = new client.S3Client({
    ...(options.endpoint === null ? {} : { endpoint: options.endpoint, forcePathStyle: true }),
    // Servers that only speak the older protocol refuse checksums that they were not asked for.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: options.silenceMs ?? SOCKET_TIMEOUT_MS,
    },
  });
  s3.middlewareStack.add(
    (next) => async (call) => {
      const answer = await next(call);
      reportProgress();
      return answer;
    },
    { step: 'initialize', name: 'reportProgress' },
  );
  return new S3Blobs(s3, { client, storage }, options);
}

interface Sdk {
  readonly client: typeof import('@aws-sdk/client-s3');
  readonly storage: typeof import('@aws-sdk/lib-storage');
}

class S3Blobs implements Blobs {
  readonly #s3: S3Client;
  readonly #sdk: Sdk;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #staleUploadMs: number;
  #swept = false;
  #wroteAtMs = Number.NEGATIVE_INFINITY;

  constructor(s3: S3Client, sdk: Sdk, options: S3BlobsOptions) {
    this.#s3 = s3;
    this.#sdk = sdk;
    this.#bucket = options.bucket;
    this.#staleUploadMs = options.staleUploadMs ?? STALE_UPLOAD_MS;
    this.#prefix = options.prefix === '' ? '' : `${options.prefix}/`;
  }

  async put({ key, body, signal }: Parameters<Blobs['put']>[0]): Promise<{ bytes: number }> {
    const target = this.#target(key);
    signal?.throwIfAborted();
    try {
      if (body instanceof Uint8Array) {
        const command = new this.#sdk.client.PutObjectCommand({ ...target, Body: body });
        await this.#s3.send(command, signal === undefined ? {} : { abortSignal: signal });
        return { bytes: body.byteLength };
      }
      return { bytes: await this.#upload(target, body, signal) };
    } catch (error) {
      signal?.throwIfAborted();
      throw toStorageError(error);
    }
  }

  /** A stream of unknown length, in parts; the parts are dropped when it fails. */
  async #upload(
    target: { Bucket: string; Key: string },
    body: Readable,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    let bytes = 0;
    let sourceError: unknown = null;
    async function* counted(): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of body) {
          const part: Uint8Array = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
          bytes += part.byteLength;
          yield part;
        }
      } catch (error) {
        sourceError = error;
        throw error;
      }
    }
    const upload = new this.#sdk.storage.Upload({
      client: this.#s3,
      params: { ...target, Body: Readable.from(counted(), { objectMode: false }) },
      partSize: PART_BYTES,
      queueSize: PARTS_AT_ONCE,
      leavePartsOnError: false,
    });
    const onAbort = () => {
      void upload.abort().catch(() => undefined);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await upload.done();
      return bytes;
    } catch (error) {
      throw sourceError ?? error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      if (!body.destroyed) body.destroy();
    }
  }

  async get({ key, offset = 0, length, signal }: Parameters<Blobs['get']>[0]): Promise<Readable> {
    const target = this.#target(key);
    if (length !== undefined && length <= 0) {
      if ((await this.head({ key })) === null) throw new BlobMissingError(`There is no object ${key}.`);
      return Readable.from([]);
    }
    const whole = offset === 0 && length === undefined;
    const range = whole
      ? {}
      : { Range: `bytes=${offset}-${length === undefined ? '' : offset + length - 1}` };
    try {
      const command = new this.#sdk.client.GetObjectCommand({ ...target, ...range });
      const answer = await this.#s3.send(command, signal === undefined ? {} : { abortSignal: signal });
      if (!(answer.Body instanceof Readable)) throw new Error('The S3 client answered without a stream.');
      return answer.Body;
    } catch (error) {
      if (isMissing(error)) throw new BlobMissingError(`There is no object ${key}.`, { cause: error });
      // An offset at or behind the end: there is nothing to read.
      if (statusOf(error) === 416) return Readable.from([]);
      throw error;
    }
  }

  async head({ key }: { key: string }): Promise<BlobHead | null> {
    try {
      const found = await this.#s3.send(new this.#sdk.client.HeadObjectCommand(this.#target(key)));
      return { bytes: found.ContentLength ?? 0, modifiedAtMs: found.LastModified?.getTime() ?? 0 };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async list({ prefix, after, limit = LIST_LIMIT }: Parameters<Blobs['list']>[0]): Promise<ListedBlob[]> {
    const found: ListedBlob[] = [];
    let startAfter = after === undefined ? undefined : this.#prefix + after;
    while (found.length < limit) {
      const page = await this.#s3.send(
        new this.#sdk.client.ListObjectsV2Command({
          Bucket: this.#bucket,
          Prefix: this.#prefix + prefix,
          MaxKeys: Math.min(limit - found.length, LIST_LIMIT),
          ...(startAfter === undefined ? {} : { StartAfter: startAfter }),
        }),
      );
      const objects = page.Contents ?? [];
      for (const { Key: name = '', Size: bytes = 0, LastModified: modified } of objects) {
        found.push({ key: name.slice(this.#prefix.length), bytes, modifiedAtMs: modified?.getTime() ?? 0 });
      }
      startAfter = objects.at(-1)?.Key;
      if (page.IsTruncated !== true || startAfter === undefined) break;
    }
    return found;
  }

  async delete({ key }: { key: string }): Promise<void> {
    await this.#s3.send(new this.#sdk.client.DeleteObjectCommand(this.#target(key)));
  }

  async deleteMany({ keys }: { keys: readonly string[] }): Promise<void> {
    for (let at = 0; at < keys.length; at += LIST_LIMIT) {
      const part = keys.slice(at, at + LIST_LIMIT);
      // Some servers have no request for many (Google's S3 interface, for one), or refuse single keys of it.
      const left = await this.#deleteAtOnce(part).catch(() => part);
      for (const key of left) await this.delete({ key });
    }
  }

  /** The keys that were not deleted. */
  async #deleteAtOnce(keys: readonly string[]): Promise<readonly string[]> {
    if (keys.length < 2) return keys;
    const Objects = keys.map((key) => ({ Key: this.#target(key).Key }));
    const answer = await this.#s3.send(
      new this.#sdk.client.DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } }),
    );
    const refused = new Set((answer.Errors ?? []).map(({ Key: name }) => name));
    return keys.filter((key) => refused.has(this.#prefix + key));
  }

  async check(): Promise<void> {
    if (performance.now() - this.#wroteAtMs < CHECK_WRITE_INTERVAL_MS) await this.head({ key: CHECK_KEY });
    else await this.#checkWriting();
    if (this.#swept) return;
    await this.#abortStaleUploads(Date.now());
    this.#swept = true;
  }

  /** Always the same key, and seldom: where a bucket keeps versions, each object that was ever written stays. */
  async #checkWriting(): Promise<void> {
    this.#wroteAtMs = Number.NEGATIVE_INFINITY;
    await this.put({ key: CHECK_KEY, body: new TextEncoder().encode('ok') });
    this.#wroteAtMs = performance.now();
  }

  /** Parts of unfinished uploads cost room and are listed nowhere. */
  async #abortStaleUploads(nowMs: number): Promise<void> {
    const { ListMultipartUploadsCommand, AbortMultipartUploadCommand } = this.#sdk.client;
    const page = await this.#s3.send(
      new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: this.#prefix }),
    );
    for (const { Key: name, UploadId: id, Initiated: began } of page.Uploads ?? []) {
      if (began === undefined || began.getTime() > nowMs - this.#staleUploadMs) continue;
      await this.#s3.send(new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key: name, UploadId: id }));
    }
  }

  async close(): Promise<void> {
    this.#s3.destroy();
  }

  #target(key: string): { Bucket: string; Key: string } {
    assertKey(key);
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const metadata: unknown = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

/** A missing bucket is another error: it must not look like a missing object. */
const isMissing = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'NoSuchKey' ||
    error.name === 'NotFound' ||
    (statusOf(error) === 404 && error.name !== 'NoSuchBucket'));

function toStorageError(error: unknown): unknown {
  const full = error instanceof Error && (statusOf(error) === 507 || error.name === 'QuotaExceeded');
  if (!full) return error;
  return new StorageFullError('The bucket has no room left. Free some space and try again.', {
    cause: error,
  });
}
