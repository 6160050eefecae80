import { Module } from '@nestjs/common';
import { JobWatch } from './job-watch.js';

/** Following jobs as they go. */
@Module({ providers: [JobWatch], exports: [JobWatch] })
export class EventsModule {}
