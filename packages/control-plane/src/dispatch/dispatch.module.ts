import { Module } from '@nestjs/common';
import { LeasesModule } from '../leases/leases.module.js';
import { Dispatcher } from './dispatcher.js';
import { OrphanSweep } from './orphan-sweep.js';
import { PoisonedItems } from './poisoned-items.js';
import { Sweeper } from './sweeper.js';
import { Upkeep } from './upkeep.js';

const SERVICES = [Dispatcher, OrphanSweep, PoisonedItems, Sweeper, Upkeep];

/** What runs by itself: offering, sweeping, upkeep. Each has a `tick()`; the loops are started by the bootstrap. */
@Module({ imports: [LeasesModule], providers: SERVICES, exports: SERVICES })
export class DispatchModule {}
