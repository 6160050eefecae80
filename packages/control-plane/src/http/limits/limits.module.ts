import { Module } from '@nestjs/common';
import type { Clock } from '../../ports/clock.js';
import type { Ledger } from '../../ports/ledger.js';
import { ProjectLimitsAdministration } from '../../rate-limits/project-limits-administration.js';
import { CLOCK, LEDGER } from '../../tokens.js';
import { LimitsController } from './limits.controller.js';

/** What projects may ask for: shown to them, set by administrators. */
@Module({
  controllers: [LimitsController],
  providers: [
    {
      provide: ProjectLimitsAdministration,
      inject: [LEDGER, CLOCK],
      useFactory: (ledger: Ledger, clock: Clock) => new ProjectLimitsAdministration({ ledger, clock }),
    },
  ],
})
export class LimitsModule {}
