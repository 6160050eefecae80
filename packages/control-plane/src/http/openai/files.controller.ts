import { IDEMPOTENT_REPLAYED_HEADER } from '@batch-infer/contracts/native';
import type { FileObject } from '@batch-infer/contracts/openai';
import { Controller, Delete, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { Files } from '../../files/files.js';
import { ProjectId } from '../auth/project.js';
import { sendBytes } from '../byte-answers.js';
import { idempotencyOf } from '../idempotency.js';
import { clientSignal } from '../request-context.js';
import { toFileObject } from './file-mapper.js';
import { FILES, type ListView, type PageQuery, pageOf, toListView } from './list-query.js';
import { readUpload } from './upload-form.js';

/** OpenAI's `/v1/files`. */
@Controller('v1/files')
export class FilesController {
  readonly #files: Files;

  constructor(@Inject(Files) files: Files) {
    this.#files = files;
  }

  @Post()
  @HttpCode(200)
  async create(
    @ProjectId() projectId: string,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<FileObject> {
    const attempt = idempotencyOf(request, projectId, 'POST /v1/files');
    const signal = clientSignal(reply);
    const { spooled, options } = await readUpload(request, {
      spool: (file) => this.#files.spool({ projectId, ...file }),
      discard: (file) => this.#files.discard(file),
    });
    const { file, replayed } = await this.#files.commit({ spooled, options, attempt, signal });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return toFileObject(file);
  }

  @Get()
  async list(
    @ProjectId() projectId: string,
    @Query() query: PageQuery & { purpose?: string; order?: string },
  ): Promise<ListView<FileObject>> {
    if (query.order !== undefined && query.order !== 'asc' && query.order !== 'desc') {
      throw new DomainError('invalid_parameter', 'order must be asc or desc.', { param: 'order' });
    }
    const { files, hasMore } = await this.#files.list({
      projectId,
      ...pageOf(query, 'file', FILES),
      ...(query.purpose === undefined ? {} : { purpose: query.purpose }),
      ...(query.order === undefined ? {} : { order: query.order }),
    });
    return toListView(files.map(toFileObject), hasMore);
  }

  @Get(':id')
  async get(@ProjectId() projectId: string, @Param('id') id: string): Promise<FileObject> {
    return toFileObject(await this.#files.get(projectId, id));
  }

  @Get(':id/content')
  async content(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const file = await this.#files.get(projectId, id);
    reply
      .header('content-type', 'application/octet-stream')
      .header('content-disposition', attachment(file.filename));
    // A file never changes: its id says which bytes these are.
    const open = (range: { offset: number; length: number }) => this.#files.open(file, range);
    await sendBytes(request, reply, { size: file.bytes, etag: `"${file.id}"`, open });
  }

  @Delete(':id')
  async delete(
    @ProjectId() projectId: string,
    @Param('id') id: string,
  ): Promise<{ id: string; object: 'file'; deleted: true }> {
    await this.#files.delete(projectId, id);
    return { id, object: 'file', deleted: true };
  }
}

/** RFC 6266: an ASCII name for old clients, the real one beside it. */
function attachment(filename: string): string {
  const plain = filename.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_');
  return `attachment; filename="${plain}"; filename*=UTF-8''${encodeURIComponent(filename)}`;
}
