import { Module } from '@nestjs/common';
import { JobsModule } from '../../jobs/jobs.module.js';
import { PublicUrl } from '../public-url.js';
import { MessageBatchesController } from './message-batches.controller.js';

/** Anthropic's message batches, as unmodified SDKs speak them. */
@Module({ imports: [JobsModule], controllers: [MessageBatchesController], providers: [PublicUrl] })
export class AnthropicModule {}
