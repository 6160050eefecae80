import { Module } from '@nestjs/common';
import { ClaimShard } from './claim-shard.js';
import { ReadShardLines } from './read-shard-lines.js';
import { ReleaseShard } from './release-shard.js';
import { RenewLeases } from './renew-leases.js';
import { RunnerRegistry } from './runner-registry.js';
import { RunnerSessions } from './runner-sessions.js';
import { SettleSegment } from './settle-segment.js';
import { ShardAccess } from './shard-access.js';

const SERVICES = [
  ClaimShard,
  ReadShardLines,
  ReleaseShard,
  RenewLeases,
  RunnerRegistry,
  RunnerSessions,
  SettleSegment,
  ShardAccess,
];

/** Use cases of leases and runners. */
@Module({ providers: SERVICES, exports: SERVICES })
export class LeasesModule {}
