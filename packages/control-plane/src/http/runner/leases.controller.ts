import { Readable } from 'node:stream';
import {
  type ClaimResponse,
  claimRequest,
  type RenewResponse,
  releaseRequest,
  renewRequest,
  type SettleResponse,
} from '@batch-infer/contracts/runner-protocol';
import { Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res, UseGuards } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DomainError } from '../../errors.js';
import { ClaimShard } from '../../leases/claim-shard.js';
import { ReadShardLines } from '../../leases/read-shard-lines.js';
import { ReleaseShard } from '../../leases/release-shard.js';
import { RenewLeases } from '../../leases/renew-leases.js';
import { SettleSegment } from '../../leases/settle-segment.js';
import { clientSignal } from '../request-context.js';
import { parseWith } from '../validation.js';
import { ProtocolGuard } from './protocol.guard.js';

const leaseQuery = z.object({ epoch: z.coerce.number().int().min(0), runner_id: z.string().optional() });

/** The runners' side of leases: claim, renew, settle, release, and the lines to run. */
@Controller('v1/runner')
@UseGuards(ProtocolGuard)
export class LeasesController {
  readonly #claim: ClaimShard;
  readonly #renew: RenewLeases;
  readonly #settle: SettleSegment;
  readonly #release: ReleaseShard;
  readonly #lines: ReadShardLines;

  constructor(
    @Inject(ClaimShard) claim: ClaimShard,
    @Inject(RenewLeases) renew: RenewLeases,
    @Inject(SettleSegment) settle: SettleSegment,
    @Inject(ReleaseShard) release: ReleaseShard,
    @Inject(ReadShardLines) lines: ReadShardLines,
  ) {
    this.#claim = claim;
    this.#renew = renew;
    this.#settle = settle;
    this.#release = release;
    this.#lines = lines;
  }

  @Post('claim')
  @HttpCode(200)
  claim(@Req() request: FastifyRequest): Promise<ClaimResponse> {
    return this.#claim.run(parseWith(claimRequest, request.body));
  }

  @Post('renew')
  @HttpCode(200)
  renew(@Req() request: FastifyRequest): Promise<RenewResponse> {
    return this.#renew.run(parseWith(renewRequest, request.body));
  }

  @Post('shards/:id/settle')
  @HttpCode(200)
  async settle(
    @Param('id') shardId: string,
    @Query() query: unknown,
    @Req() request: FastifyRequest,
  ): Promise<SettleResponse> {
    const { epoch } = parseWith(leaseQuery, query);
    const { body } = request;
    if (!(body instanceof Readable)) {
      throw new DomainError('unsupported_media_type', 'A segment is sent as application/x-ndjson.');
    }
    try {
      // Not destroyed when it is refused midway: the runner is to read the answer, not a broken connection.
      return await this.#settle.run({ shardId, epoch, body: body.iterator({ destroyOnReturn: false }) });
    } catch (error) {
      body.resume();
      throw error;
    }
  }

  @Post('shards/:id/release')
  @HttpCode(200)
  async release(
    @Param('id') shardId: string,
    @Req() request: FastifyRequest,
  ): Promise<{ released: boolean }> {
    const { epoch, reason } = parseWith(releaseRequest, request.body);
    return { released: await this.#release.run({ shardId, epoch, reason }) };
  }

  @Get('shards/:id/lines')
  async lines(
    @Param('id') shardId: string,
    @Query() query: unknown,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { epoch } = parseWith(leaseQuery, query);
    const { bytes, lines } = await this.#lines.run({ shardId, epoch, signal: clientSignal(reply) });
    await reply.headers({ 'content-type': 'application/x-ndjson', 'content-length': bytes }).send(lines);
  }
}
