import {
  type ClaimResponse,
  claimRequest,
  type RenewResponse,
  releaseRequest,
  renewRequest,
} from '@batch-infer/contracts/runner-protocol';
import { Controller, HttpCode, Inject, Param, Post, Req, UseGuards } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { ClaimShard } from '../../leases/claim-shard.js';
import { ReleaseShard } from '../../leases/release-shard.js';
import { RenewLeases } from '../../leases/renew-leases.js';
import { ShardAccess } from '../../leases/shard-access.js';
import { type Caller, CurrentCaller, projectLimitOf, runnerIdentityOf } from '../auth/project.js';
import { parseWith } from '../validation.js';
import { ProtocolGuard } from './protocol.guard.js';

/**
 * The runners' side of leases: claim, renew, settle, release, and the lines to run. A key of one project reaches the
 * shards of that project; every other shard, and a lease of another key, answers like one that does not exist.
 */
@Controller('v1/runner')
@UseGuards(ProtocolGuard)
export class LeasesController {
  readonly #claim: ClaimShard;
  readonly #renew: RenewLeases;
  readonly #release: ReleaseShard;
  readonly #access: ShardAccess;

  constructor(
    @Inject(ClaimShard) claim: ClaimShard,
    @Inject(RenewLeases) renew: RenewLeases,
    @Inject(ReleaseShard) release: ReleaseShard,
    @Inject(ShardAccess) access: ShardAccess,
  ) {
    this.#claim = claim;
    this.#renew = renew;
    this.#release = release;
    this.#access = access;
  }

  @Post('claim')
  @HttpCode(200)
  async claim(@CurrentCaller() caller: Caller, @Req() request: FastifyRequest): Promise<ClaimResponse> {
    const asked = parseWith(claimRequest, request.body);
    if (!(await this.#access.mayTouch(projectLimitOf(caller), asked.shard_id))) {
      return { outcome: 'refused', reason: 'unknown' };
    }
    return this.#claim.run(asked, runnerIdentityOf(caller));
  }

  @Post('renew')
  @HttpCode(200)
  renew(@CurrentCaller() caller: Caller, @Req() request: FastifyRequest): Promise<RenewResponse> {
    return this.#renew.run(parseWith(renewRequest, request.body), runnerIdentityOf(caller));
  }

  @Post('shards/:id/release')
  @HttpCode(200)
  async release(
    @CurrentCaller() caller: Caller,
    @Param('id') shardId: string,
    @Req() request: FastifyRequest,
  ): Promise<{ released: boolean }> {
    const { epoch, reason } = parseWith(releaseRequest, request.body);
    if (!(await this.#access.mayTouch(projectLimitOf(caller), shardId))) return { released: false };
    const { keyId } = caller;
    return { released: await this.#release.run({ shardId, epoch, keyId, reason }) };
  }
}
