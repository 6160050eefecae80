import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { LeasesModule } from '../leases/leases.module.js';
import { Dispatcher } from './dispatcher.js';
import { LaneUpkeep } from './lane-upkeep.js';
import { OrphanSweep } from './orphan-sweep.js';
import { PoisonedItems } from './poisoned-items.js';
import { StallWatch } from './stall-watch.js';
import { Sweeper } from './sweeper.js';
import { Upkeep } from './upkeep.js';

const SERVICES = [Dispatcher, LaneUpkeep, OrphanSweep, PoisonedItems, StallWatch, Sweeper, Upkeep];

/** What runs by itself: offering, sweeping, upkeep. Each has a `tick()`; the loops are started by the bootstrap. */
@Module({ imports: [LeasesModule, JobsModule], providers: SERVICES, exports: SERVICES })
export class DispatchModule {}
