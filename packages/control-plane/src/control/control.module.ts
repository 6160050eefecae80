import { Module } from '@nestjs/common';
import { JobPauses } from './job-pauses.js';

/** Holding jobs back and letting them go on. The ports come from the global `CoreModule`. */
@Module({ providers: [JobPauses], exports: [JobPauses] })
export class ControlModule {}
