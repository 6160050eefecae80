import { Module } from '@nestjs/common';
import { LeasesModule } from '../../leases/leases.module.js';
import { LeasesController } from './leases.controller.js';
import { SessionsController } from './sessions.controller.js';
import { ShardsController } from './shards.controller.js';

/** The runners' own protocol: `/v1/runner/**`. */
@Module({ imports: [LeasesModule], controllers: [LeasesController, ShardsController, SessionsController] })
export class RunnerModule {}
