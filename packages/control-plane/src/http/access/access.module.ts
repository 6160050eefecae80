import { Module } from '@nestjs/common';
import { KeyAdministration } from '../../access/key-administration.js';
import { KeyRing } from '../../access/key-ring.js';
import { ProjectAdministration } from '../../access/project-administration.js';
import type { Clock } from '../../ports/clock.js';
import type { Ledger } from '../../ports/ledger.js';
import { CLOCK, LEDGER } from '../../tokens.js';
import { KeysController } from './keys.controller.js';
import { ProjectsController } from './projects.controller.js';

/** Projects and API keys: `/v1/keys`, `/v1/projects`, `/v1/whoami`. */
@Module({
  controllers: [KeysController, ProjectsController],
  providers: [
    {
      provide: KeyAdministration,
      inject: [LEDGER, CLOCK, KeyRing],
      useFactory: (ledger: Ledger, clock: Clock, ring: KeyRing) =>
        new KeyAdministration({ ledger, clock, onChange: (id) => ring.changed(id) }),
    },
    {
      provide: ProjectAdministration,
      inject: [LEDGER, CLOCK],
      useFactory: (ledger: Ledger, clock: Clock) => new ProjectAdministration({ ledger, clock }),
    },
  ],
})
export class AccessModule {}
