import { Module } from '@nestjs/common';
import type { Ledger } from '../../ports/ledger.js';
import { ProjectLimitsAdministration } from '../../rate-limits/project-limits-administration.js';
import { LEDGER } from '../../tokens.js';
import { LimitsController } from './limits.controller.js';

/** What projects may ask for: shown to them, set by administrators. */
@Module({
  controllers: [LimitsController],
  providers: [
    {
      provide: ProjectLimitsAdministration,
      inject: [LEDGER],
      useFactory: (ledger: Ledger) => new ProjectLimitsAdministration(ledger),
    },
  ],
})
export class LimitsModule {}
