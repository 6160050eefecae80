import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { isTerminal } from '@batch-infer/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { JobRecord } from '../ports/records.js';
import { sendBytes, sendStream } from './byte-answers.js';
import { headerOf } from './request-context.js';

/** Results up to this size are put together before they are sent. */
const GATHERED_BYTES = 1024 * 1024;
/** Sizes that are remembered, so that results which are fetched piece by piece are measured once. */
const REMEMBERED_SIZES = 1_000;
/** Changes whenever the bytes of a line are made in another way. */
const FORM = '1';

const sizes = new Map<string, number>();

/**
 * Sends results. Those of a job that has ended do not change: they have an `ETag`, answer ranges, and carry their length
 * where it is known, as it is of small ones, or needed: for a range, and over HTTP/1.0, which has no other way to tell a
 * whole answer from a cut one. There they are read twice, in constant memory.
 *
 * @param params.asked what of the results was asked for: part of the tag
 * @param params.lines makes the bytes, anew each time
 */
export async function sendResults(
  request: FastifyRequest,
  reply: FastifyReply,
  params: { job: JobRecord; asked: unknown; lines: () => AsyncIterable<Buffer> },
): Promise<void> {
  const { job, asked, lines } = params;
  if (!isTerminal(job.state)) {
    await sendStream(request, reply, Readable.from(lines(), { objectMode: false }));
    return;
  }
  const digest = createHash('sha256')
    .update(JSON.stringify([FORM, asked]))
    .digest('base64url')
    .slice(0, 12);
  const etag = `"${job.id}-${job.version}-${digest}"`;
  const gathered = await gather(lines()[Symbol.asyncIterator]());
  if (gathered.rest === null) {
    const bytes = Buffer.concat(gathered.chunks);
    const open = ({ offset, length }: { offset: number; length: number }): Readable =>
      Readable.from([bytes.subarray(offset, offset + length)], { objectMode: false });
    await sendBytes(request, reply, { size: bytes.length, etag, open });
    return;
  }
  const needsSize =
    request.raw.httpVersion === '1.0' ||
    headerOf(request, 'range') !== undefined ||
    headerOf(request, 'if-none-match') !== undefined;
  if (!needsSize) {
    reply.headers({ 'accept-ranges': 'bytes', etag, 'cache-control': 'private, no-cache' });
    const all = joined(gathered.chunks, gathered.rest);
    await sendStream(request, reply, Readable.from(all, { objectMode: false }));
    return;
  }
  const size = sizes.get(etag) ?? (await measure(gathered.chunks, gathered.rest));
  remember(etag, size);
  const open = (range: { offset: number; length: number }): Readable =>
    Readable.from(partOf(lines(), range), { objectMode: false });
  await sendBytes(request, reply, { size, etag, open });
}

/** The first bytes, and what comes behind them; `null` when they are all. */
async function gather(
  iterator: AsyncIterator<Buffer>,
): Promise<{ chunks: Buffer[]; rest: AsyncIterator<Buffer> | null }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  while (bytes <= GATHERED_BYTES) {
    const next = await iterator.next();
    if (next.done === true) return { chunks, rest: null };
    chunks.push(next.value);
    bytes += next.value.length;
  }
  return { chunks, rest: iterator };
}

async function* joined(chunks: readonly Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield* chunks;
  try {
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

async function measure(chunks: readonly Buffer[], rest: AsyncIterator<Buffer>): Promise<number> {
  let size = 0;
  for await (const chunk of joined(chunks, rest)) size += chunk.length;
  return size;
}

/** @throws Error when there are fewer bytes than were measured: the answer is cut, and never looks whole. */
async function* partOf(
  lines: AsyncIterable<Buffer>,
  { offset, length }: { offset: number; length: number },
): AsyncGenerator<Buffer> {
  let at = 0;
  const end = offset + length;
  for await (const chunk of lines) {
    const piece = chunk.subarray(Math.max(0, offset - at), Math.max(0, end - at));
    at += chunk.length;
    if (piece.length > 0) yield piece;
    if (at >= end) return;
  }
  throw new Error('The results changed while they were sent.');
}

function remember(etag: string, size: number): void {
  sizes.delete(etag);
  sizes.set(etag, size);
  const [oldest] = sizes.keys();
  if (sizes.size > REMEMBERED_SIZES && oldest !== undefined) sizes.delete(oldest);
}
