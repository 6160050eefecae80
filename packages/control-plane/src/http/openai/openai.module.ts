import { Module } from '@nestjs/common';
import { JobsModule } from '../../jobs/jobs.module.js';
import { BatchesController } from './batches.controller.js';
import { FilesController } from './files.controller.js';
import { UploadsController } from './uploads.controller.js';

/** OpenAI's files, uploads and batches, as unmodified SDKs speak them. */
@Module({ imports: [JobsModule], controllers: [FilesController, UploadsController, BatchesController] })
export class OpenAiModule {}
