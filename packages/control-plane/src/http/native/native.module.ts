import { Module } from '@nestjs/common';
import { ControlModule } from '../../control/control.module.js';
import { JobsModule } from '../../jobs/jobs.module.js';
import { ControlController } from './control.controller.js';
import { JobsController } from './jobs.controller.js';
import { ModelsController } from './models.controller.js';
import { ServerController } from './server.controller.js';

/** Our own API: `/v1/jobs/**`, `/v1/models`, `/v1/runners`, `/v1/limits`, `/openapi.json`. */
@Module({
  imports: [JobsModule, ControlModule],
  controllers: [JobsController, ControlController, ModelsController, ServerController],
})
export class NativeModule {}
