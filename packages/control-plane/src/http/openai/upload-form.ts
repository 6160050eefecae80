import type { Readable } from 'node:stream';
import { LIMITS } from '@batch-infer/contracts';
import type { Multipart } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { type FileOptions, safeFilename } from '../../files/files.js';
import { drain } from '../../ingest/ingest.js';
import { FORM_FIELD_BYTES } from '../content-parsers.js';
import { FormFields, fileOptionsOf } from './form-fields.js';

/** What stands around the bytes of a file: boundaries and fields. */
const FORM_ROOM = 32 * 1024;

/** What is done with the bytes of a form while they arrive, and how it is undone when the form is refused. */
interface FormHandlers<Spooled> {
  readonly spool: (file: { source: Readable; filename: string }) => Promise<Spooled>;
  readonly discard: (spooled: Spooled) => Promise<void>;
}

/**
 * Reads an upload's parts in whatever order they come: Node sends `file` first, Python `purpose`. The file is handed to
 * `spool` while it arrives; all else is judged when the body has been read to its end, so that the client gets to read
 * the answer. What was spooled is handed to `discard` when the upload is refused.
 * @throws DomainError `unsupported_media_type`, `missing_parameter`, `invalid_parameter`; what `spool` throws
 */
export const readUpload = <Spooled>(
  request: FastifyRequest,
  files: FormHandlers<Spooled>,
): Promise<{ spooled: Spooled; options: FileOptions }> =>
  readForm(request, { field: 'file', maxBytes: LIMITS.fileBytes }, files, (spooled, fields) => ({
    spooled,
    options: fileOptionsOf(fields),
  }));

/** The same for one part of a larger upload, whose bytes are the part `data`. */
export const readUploadPart = <Spooled>(
  request: FastifyRequest,
  files: FormHandlers<Spooled>,
): Promise<Spooled> =>
  readForm(request, { field: 'data', maxBytes: LIMITS.uploadPartBytes }, files, (spooled, fields) => {
    fields.assertKnown([]);
    return spooled;
  });

async function readForm<Spooled, Read>(
  request: FastifyRequest,
  { field, maxBytes }: { field: string; maxBytes: number },
  files: FormHandlers<Spooled>,
  judge: (spooled: Spooled, fields: FormFields) => Read,
): Promise<Read> {
  if (!request.isMultipart()) {
    throw new DomainError(
      'unsupported_media_type',
      `Send multipart/form-data with the bytes as the part "${field}".`,
    );
  }
  if (!/;\s*boundary=/i.test(request.headers['content-type'] ?? '')) {
    throw new DomainError(
      'invalid_request',
      `The content type lacks its boundary. Clients add it by themselves: do not set content-type by hand beside -F ${field}=@in.jsonl.`,
      { param: 'content-type' },
    );
  }
  const mostBytes = maxBytes + FORM_ROOM;
  if (Number(request.headers['content-length']) > mostBytes) throw formTooLarge(mostBytes);
  const fields = new FormFields();
  let spooled: Spooled | null = null;
  try {
    for await (const part of partsOf(request, mostBytes)) {
      if (part.type === 'field') fields.add(part.fieldname, part.value, part.valueTruncated);
      else if (part.fieldname !== field) {
        // Some clients give every part the name of a file.
        const { text, isWhole } = await textOf(part.file);
        fields.add(part.fieldname, text, !isWhole);
      } else if (spooled === null) {
        spooled = await files.spool({ source: part.file, filename: safeFilename(part.filename) });
      } else {
        await drain(part.file);
        fields.addTwice(field);
      }
    }
    if (spooled === null) throw missingFile(field, fields.has(field));
    fields.assertReadable();
    return judge(spooled, fields);
  } catch (error) {
    if (spooled !== null) await files.discard(spooled);
    throw error;
  }
}

/** `isField`: it came without a file name, as curl's `-F file=<in.jsonl` sends it. */
const missingFile = (field: string, isField: boolean): DomainError =>
  new DomainError(
    'missing_parameter',
    isField
      ? `The part "${field}" has no filename, which makes it a field and not a file. In curl: -F ${field}=@in.jsonl.`
      : `The part "${field}" is missing.`,
    { param: field },
  );

/** @throws DomainError `invalid_request` when the form breaks off */
async function* partsOf(request: FastifyRequest, maxBytes: number): AsyncGenerator<Multipart> {
  try {
    const parts = request.parts();
    capBody(request, maxBytes);
    yield* parts;
  } catch (error) {
    if (error instanceof DomainError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'FST_INVALID_JSON_FIELD_ERROR') {
      throw new DomainError(
        'invalid_parameter',
        'A part with content-type: application/json is not valid JSON.',
        {
          cause: error,
        },
      );
    }
    // The plugin's own errors (too many parts) carry their status.
    if (error instanceof Error && 'statusCode' in error) throw error;
    throw new DomainError('invalid_request', 'The form ends before it is complete. Send it again.', {
      cause: error,
    });
  }
}

/** All of a form: fields that are skipped, and what stands between the parts. Fails the parser that reads it. */
function capBody({ raw }: FastifyRequest, maxBytes: number): void {
  let bytes = 0;
  const count = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes <= maxBytes) return;
    raw.off('data', count);
    raw.pause();
    raw.emit('error', formTooLarge(maxBytes));
  };
  raw.on('data', count);
}

const formTooLarge = (maxBytes: number): DomainError =>
  new DomainError(
    'file_too_large',
    `The form is larger than ${maxBytes} bytes, the limit of one upload. Split the file.`,
  );

/** A part that should have been a field, as text. */
async function textOf(source: Readable): Promise<{ text: string; isWhole: boolean }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= FORM_FIELD_BYTES) chunks.push(chunk);
  }
  return { text: Buffer.concat(chunks).toString('utf8'), isWhole: bytes <= FORM_FIELD_BYTES };
}
