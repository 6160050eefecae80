import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type InputError, LIMITS } from '@batch-infer/contracts';
import type { JsonlScanner, ScanResult } from '@batch-infer/contracts/jsonl';
import { Inject, Injectable } from '@nestjs/common';
import { DomainError } from '../errors.js';
import type { Blobs } from '../ports/blobs.js';
import { BLOBS } from '../tokens.js';
import { inTurns } from './in-turns.js';

export interface ReceivedInput {
  readonly bytes: number;
  /** SHA-256 of the bytes, hex. */
  readonly sha256: string;
  readonly scan: ScanResult;
}

/** Bytes in memory that are judged before others get their turn. */
const SLICE_BYTES = 256 * 1024;

/** Takes inputs in: hashed, checked and stored in one pass at the pace of the store, never held whole. */
@Injectable()
export class Ingest {
  /** Where inputs are stored. */
  readonly blobs: Blobs;

  constructor(@Inject(BLOBS) blobs: Blobs) {
    this.blobs = blobs;
  }

  /**
   * Reads `source` to its end into a new object, or only checks it when `blobKey` is `null`. What the scan found is the
   * caller's to judge, and the object then the caller's to delete.
   *
   * When storing fails the rest of the source is read and dropped, so that the client gets to read the answer. When the
   * source breaks or is too large, nothing stays.
   * @throws DomainError `file_too_large`, `invalid_request` (the source broke); StorageFullError
   */
  async receive(params: {
    source: Readable;
    blobKey: string | null;
    scanner: JsonlScanner;
    maxBytes?: number;
  }): Promise<ReceivedInput> {
    const { source, blobKey, scanner, maxBytes = LIMITS.fileBytes } = params;
    const onChunk = (chunk: Buffer): Promise<void> => inTurns(scanner.pushSteps(chunk));
    const received = await this.receiveBytes({ source, blobKey, maxBytes, what: 'file', onChunk });
    return { ...received, scan: await inTurns(scanner.endSteps()) };
  }

  /** The same, of bytes that nobody judges. `what`: how messages call it. */
  async receiveBytes(params: {
    source: Readable;
    blobKey: string | null;
    maxBytes: number;
    what: 'file' | 'part';
    onChunk?: (chunk: Buffer) => Promise<void>;
  }): Promise<{ bytes: number; sha256: string }> {
    const { source, blobKey, maxBytes, what, onChunk } = params;
    const hash = createHash('sha256');
    let bytes = 0;
    async function* taken(): AsyncGenerator<Buffer> {
      for await (const chunk of chunksOf(source)) {
        bytes += chunk.length;
        if (bytes > maxBytes) throw tooLarge(what, maxBytes);
        hash.update(chunk);
        await onChunk?.(chunk);
        yield chunk;
      }
    }
    try {
      if (blobKey === null) for await (const _ of taken());
      else await this.blobs.put({ key: blobKey, body: Readable.from(taken(), { objectMode: false }) });
    } catch (error) {
      if (!(error instanceof DomainError)) await drain(source, maxBytes - bytes);
      throw error;
    }
    return { bytes, sha256: hash.digest('hex') };
  }

  /** Stores bytes that are in memory already. */
  async store(params: {
    body: Uint8Array;
    blobKey: string | null;
    scanner: JsonlScanner;
  }): Promise<ReceivedInput> {
    const { body, blobKey, scanner } = params;
    const hash = createHash('sha256');
    for (let at = 0; at < body.length; at += SLICE_BYTES) {
      if (at > 0) await nextTurn();
      const slice = body.subarray(at, at + SLICE_BYTES);
      hash.update(slice);
      await inTurns(scanner.pushSteps(slice));
    }
    if (blobKey !== null) await this.blobs.put({ key: blobKey, body });
    return {
      bytes: body.length,
      sha256: hash.digest('hex'),
      scan: await inTurns(scanner.endSteps()),
    };
  }
}

/**
 * Ending early does not destroy the source: that would cut the connection before the answer.
 * @throws DomainError `invalid_request` when the source breaks
 */
async function* chunksOf(source: Readable): AsyncGenerator<Buffer> {
  try {
    yield* source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch (cause) {
    // Said by whoever reads the body for us.
    if (cause instanceof DomainError) throw cause;
    throw new DomainError('invalid_request', 'The body ended before it was complete. Send it again.', {
      cause,
    });
  }
}

function tooLarge(what: string, maxBytes: number): DomainError {
  return new DomainError(
    'file_too_large',
    `The ${what} is larger than ${maxBytes} bytes, the limit of one ${what}. Split it.`,
  );
}

/** Reads and drops the rest of a body, up to a cap. Never throws: whatever breaks here has been reported already. */
export async function drain(source: Readable, maxBytes: number = LIMITS.fileBytes): Promise<void> {
  let left = maxBytes;
  try {
    for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      left -= chunk.length;
      if (left <= 0) return;
    }
  } catch {
    // The client is gone.
  }
}

/**
 * Refuses an input with bad lines: the first one in the message, up to 100 in `errors`.
 * @throws DomainError `invalid_file` or `empty_file`
 */
export function assertGoodInput({
  errors,
  errorCount,
}: {
  errors: readonly InputError[];
  errorCount: number;
}): void {
  const first = errors[0];
  if (first === undefined) return;
  const more = errorCount > 1 ? ` (+${errorCount - 1} more)` : '';
  throw new DomainError(
    first.code === 'empty_file' ? 'empty_file' : 'invalid_file',
    `${first.message}.${more}`,
    {
      errors,
      ...(first.param === null ? {} : { param: first.param }),
    },
  );
}
