import type { Readable } from 'node:stream';
import { LIMITS } from '@batch-infer/contracts';
import type { Multipart } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { type FileOptions, safeFilename } from '../../files/files.js';
import { drain } from '../../ingest/ingest.js';

/** What OpenAI lets files be for. Only `batch` files have their lines judged. */
const FILE_PURPOSES = ['batch', 'assistants', 'fine-tune', 'vision', 'user_data', 'evals'] as const;

/**
 * Reads an upload's parts in whatever order they come: Node sends `file` first, Python `purpose`. The file is handed to
 * `spool` while it arrives; all else is judged when the body has been read to its end, so that the client gets to read
 * the answer. What was spooled is handed to `discard` when the upload is refused.
 * @throws DomainError `unsupported_media_type`, `missing_parameter`, `invalid_parameter`; what `spool` throws
 */
export async function readUpload<Spooled>(
  request: FastifyRequest,
  files: {
    spool: (file: { source: Readable; filename: string }) => Promise<Spooled>;
    discard: (spooled: Spooled) => Promise<void>;
  },
): Promise<{ spooled: Spooled; options: FileOptions }> {
  if (!request.isMultipart()) {
    throw new DomainError(
      'unsupported_media_type',
      'Files are uploaded as multipart/form-data with the parts file and purpose.',
    );
  }
  const fields = new Map<string, string>();
  let spooled: Spooled | null = null;
  try {
    for await (const part of partsOf(request)) {
      if (part.type === 'field') fields.set(part.fieldname, String(part.value));
      else if (part.fieldname === 'file' && spooled === null) {
        spooled = await files.spool({ source: part.file, filename: safeFilename(part.filename) });
      } else await drain(part.file);
    }
    if (spooled === null)
      throw new DomainError('missing_parameter', 'The part "file" is missing.', { param: 'file' });
    return { spooled, options: fileOptionsOf(fields) };
  } catch (error) {
    if (spooled !== null) await files.discard(spooled);
    throw error;
  }
}

/** @throws DomainError `invalid_request` when the form breaks off */
async function* partsOf(request: FastifyRequest): AsyncGenerator<Multipart> {
  try {
    yield* request.parts();
  } catch (error) {
    // The plugin's own errors (too many parts) carry their status.
    if (error instanceof Error && 'statusCode' in error) throw error;
    throw new DomainError('invalid_request', 'The form ends before it is complete. Send it again.', {
      cause: error,
    });
  }
}

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
