import { IDEMPOTENT_REPLAYED_HEADER } from '@batch-infer/contracts/native';
import {
  completeUploadRequest,
  createUploadRequest,
  type UploadObject,
  type UploadPartObject,
} from '@batch-infer/contracts/openai';
import { Body, Controller, HttpCode, Inject, Param, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { safeFilename } from '../../files/files.js';
import { Uploads } from '../../files/uploads.js';
import { ProjectId } from '../auth/project.js';
import { idempotencyOf } from '../idempotency.js';
import { clientSignal } from '../request-context.js';
import { parseWith } from '../validation.js';
import { toUploadObject, toUploadPart } from './file-mapper.js';
import { readUploadPart } from './upload-form.js';

/** OpenAI's `/v1/uploads`: files that come in parts. */
@Controller('v1/uploads')
export class UploadsController {
  readonly #uploads: Uploads;

  constructor(@Inject(Uploads) uploads: Uploads) {
    this.#uploads = uploads;
  }

  @Post()
  @HttpCode(200)
  async create(
    @ProjectId() projectId: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
  ): Promise<UploadObject> {
    const attempt = idempotencyOf(request, projectId, 'POST /v1/uploads');
    const sent = parseWith(createUploadRequest, body);
    const plan = {
      filename: safeFilename(sent.filename),
      purpose: sent.purpose,
      mimeType: sent.mime_type,
      bytes: sent.bytes,
      fileExpiresAfterSeconds: sent.expires_after?.seconds ?? null,
    };
    const { upload, replayed } = await this.#uploads.create({ plan, attempt });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return toUploadObject(upload, null);
  }

  @Post(':id/parts')
  @HttpCode(200)
  async addPart(
    @ProjectId() projectId: string,
    @Param('id') uploadId: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<UploadPartObject> {
    const attempt = idempotencyOf(request, projectId, `POST /v1/uploads/${uploadId}/parts`);
    const signal = clientSignal(reply);
    // Before a byte is stored: an id that is no upload's must not become the name of a folder.
    await this.#uploads.get(projectId, uploadId);
    const spooled = await readUploadPart(request, {
      spool: ({ source }) => this.#uploads.spoolPart({ projectId, uploadId, source }),
      discard: (part) => this.#uploads.discardPart(part),
    });
    const { part, replayed } = await this.#uploads.addPart({ uploadId, spooled, attempt, signal });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return toUploadPart(part);
  }

  @Post(':id/complete')
  @HttpCode(200)
  async complete(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
  ): Promise<UploadObject> {
    await this.#uploads.get(projectId, id);
    const { part_ids: partIds, md5 } = parseWith(completeUploadRequest, body);
    const { upload, file } = await this.#uploads.complete({
      projectId,
      id,
      partIds,
      md5: md5 ?? null,
      signal: clientSignal(reply),
    });
    return toUploadObject(upload, file);
  }

  @Post(':id/cancel')
  @HttpCode(200)
  async cancel(@ProjectId() projectId: string, @Param('id') id: string): Promise<UploadObject> {
    return toUploadObject(await this.#uploads.cancel(projectId, id), null);
  }
}
