import { Module } from '@nestjs/common';
import { EventsModule } from '../../events/events.module.js';
import { EventsController } from './events.controller.js';

/** Jobs as streams of events. */
@Module({ imports: [EventsModule], controllers: [EventsController] })
export class EventsHttpModule {}
