import { Module } from '@nestjs/common';
import { EventsModule } from '../events/events.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { BackgroundResponses } from './background-responses.js';
import { ServedModels } from './served-models.js';
import { SyncLane } from './sync-lane.js';

/** Plain requests as jobs of one item. */
@Module({
  imports: [JobsModule, EventsModule],
  providers: [SyncLane, ServedModels, BackgroundResponses],
  exports: [SyncLane, BackgroundResponses],
})
export class SyncLaneModule {}
