import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { JobEvents } from './job-events.js';

/** Following jobs as they go. */
@Module({ imports: [JobsModule], providers: [JobEvents], exports: [JobEvents] })
export class EventsModule {}
