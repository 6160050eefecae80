import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { JobEvents } from './job-events.js';
import { JobWatch } from './job-watch.js';

/** Following jobs as they go. */
@Module({ imports: [JobsModule], providers: [JobWatch, JobEvents], exports: [JobWatch, JobEvents] })
export class EventsModule {}
