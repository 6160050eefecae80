import { Module } from '@nestjs/common';
import { JobsModule } from '../../jobs/jobs.module.js';
import { SyncLaneModule } from '../../sync-lane/sync-lane.module.js';
import { ResponsesController } from '../responses/responses.controller.js';
import { SyncController } from './sync.controller.js';

/** Plain requests, in the words of OpenAI's and Anthropic's SDKs. */
@Module({ imports: [JobsModule, SyncLaneModule], controllers: [SyncController, ResponsesController] })
export class SyncModule {}
