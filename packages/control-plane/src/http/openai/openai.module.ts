import { Module } from '@nestjs/common';
import { JobsModule } from '../../jobs/jobs.module.js';
import { BatchesController } from './batches.controller.js';
import { FilesController } from './files.controller.js';

/** OpenAI's files and batches, as unmodified SDKs speak them. */
@Module({ imports: [JobsModule], controllers: [FilesController, BatchesController] })
export class OpenAiModule {}
