import type { Readable } from 'node:stream';
import { LIMITS } from '@batch-infer/contracts';
import { FILE_PURPOSES } from '@batch-infer/contracts/openai';
import type { Multipart } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { type FileOptions, safeFilename } from '../../files/files.js';
import { drain } from '../../ingest/ingest.js';

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
  readForm(request, { field: 'data', maxBytes: LIMITS.uploadPartBytes }, files, (spooled) => spooled);

async function readForm<Spooled, Read>(
  request: FastifyRequest,
  { field, maxBytes }: { field: string; maxBytes: number },
  files: FormHandlers<Spooled>,
  judge: (spooled: Spooled, fields: ReadonlyMap<string, string>) => Read,
): Promise<Read> {
  if (!request.isMultipart()) {
    throw new DomainError(
      'unsupported_media_type',
      `Send multipart/form-data with the bytes as the part "${field}".`,
    );
  }
  const mostBytes = maxBytes + FORM_ROOM;
  if (Number(request.headers['content-length']) > mostBytes) throw formTooLarge(mostBytes);
  const fields = new Map<string, string>();
  let spooled: Spooled | null = null;
  try {
    for await (const part of partsOf(request, mostBytes)) {
      if (part.type === 'field') fields.set(part.fieldname, String(part.value));
      else if (part.fieldname === field && spooled === null) {
        spooled = await files.spool({ source: part.file, filename: safeFilename(part.filename) });
      } else await drain(part.file);
    }
    if (spooled === null) throw missingFile(field, fields.has(field));
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

/** @throws DomainError `missing_parameter`, `invalid_parameter` */
function fileOptionsOf(fields: ReadonlyMap<string, string>): FileOptions {
  const purpose = fields.get('purpose');
  if (purpose === undefined || purpose === '') {
    throw new DomainError(
      'missing_parameter',
      'purpose is missing. For the input of a batch it is "batch".',
      { param: 'purpose' },
    );
  }
  if (!FILE_PURPOSES.some((known) => known === purpose)) {
    throw new DomainError('invalid_parameter', `purpose must be one of ${FILE_PURPOSES.join(', ')}.`, {
      param: 'purpose',
    });
  }
  return { purpose, expiresAfterSeconds: expiryOf(fields) };
}

function expiryOf(fields: ReadonlyMap<string, string>): number | null {
  const anchor = fields.get('expires_after[anchor]');
  const text = fields.get('expires_after[seconds]');
  if (anchor === undefined && text === undefined) return null;
  const seconds = Number(text);
  const { fileExpiryMinSeconds: least, fileExpiryMaxSeconds: most } = LIMITS;
  if (anchor !== 'created_at') {
    throw new DomainError('invalid_parameter', 'expires_after[anchor] must be "created_at".', {
      param: 'expires_after.anchor',
    });
  }
  if (!Number.isInteger(seconds) || seconds < least || seconds > most) {
    throw new DomainError(
      'invalid_parameter',
      `expires_after[seconds] must be a whole number from ${least} to ${most}.`,
      {
        param: 'expires_after.seconds',
      },
    );
  }
  return seconds;
}
