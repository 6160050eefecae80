import { Readable } from 'node:stream';
import { type SettleResponse, shardEpoch } from '@batch-infer/contracts/runner-protocol';
import { Controller, Get, HttpCode, Inject, Param, Post, Query, Req, Res, UseGuards } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DomainError } from '../../errors.js';
import { leaseLost } from '../../leases/lease-lost.js';
import { ReadShardLines } from '../../leases/read-shard-lines.js';
import { SettleSegment } from '../../leases/settle-segment.js';
import { ShardAccess } from '../../leases/shard-access.js';
import type { Logger } from '../../telemetry/logger.js';
import { LOGGER } from '../../tokens.js';
import { type Caller, CurrentCaller, projectLimitOf } from '../auth/project.js';
import { clientSignal } from '../request-context.js';
import { parseWith } from '../validation.js';
import { ProtocolGuard } from './protocol.guard.js';

const leaseQuery = z.object({ epoch: z.coerce.number().pipe(shardEpoch), runner_id: z.string().optional() });

/** The bytes of a leased shard: its lines to the runner, and its outcomes back. */
@Controller('v1/runner/shards')
@UseGuards(ProtocolGuard)
export class ShardsController {
  readonly #settle: SettleSegment;
  readonly #lines: ReadShardLines;
  readonly #access: ShardAccess;
  readonly #logger: Logger;

  constructor(
    @Inject(SettleSegment) settle: SettleSegment,
    @Inject(ReadShardLines) lines: ReadShardLines,
    @Inject(ShardAccess) access: ShardAccess,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.#settle = settle;
    this.#lines = lines;
    this.#access = access;
    this.#logger = logger;
  }

  @Post(':id/settle')
  @HttpCode(200)
  async settle(
    @CurrentCaller() caller: Caller,
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
      await this.#assertMine(caller, shardId, epoch);
      // Not destroyed when it is refused midway: the runner is to read the answer, not a broken connection.
      const answer = await this.#settle.run({
        shardId,
        epoch,
        keyId: caller.keyId,
        body: body.iterator({ destroyOnReturn: false }),
        ...lengthOf(request),
      });
      this.#logRefused(shardId, answer);
      return answer;
    } catch (error) {
      body.resume();
      throw error;
    }
  }

  #logRefused(shardId: string, { refused = [] }: SettleResponse): void {
    const [first] = refused;
    if (first === undefined) return;
    this.#logger.warn(
      { shard: shardId, lines: refused.length, reason: first.reason },
      'outcomes of a runner were refused: their items fail',
    );
  }

  @Get(':id/lines')
  async lines(
    @CurrentCaller() caller: Caller,
    @Param('id') shardId: string,
    @Query() query: unknown,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { epoch } = parseWith(leaseQuery, query);
    await this.#assertMine(caller, shardId, epoch);
    const { bytes, lines } = await this.#lines.run({
      shardId,
      epoch,
      keyId: caller.keyId,
      signal: clientSignal(reply),
    });
    await reply.headers({ 'content-type': 'application/x-ndjson', 'content-length': bytes }).send(lines);
  }

  /** @throws DomainError `lease_lost` */
  async #assertMine(caller: Caller, shardId: string, epoch: number): Promise<void> {
    if (!(await this.#access.mayTouch(projectLimitOf(caller), shardId))) throw leaseLost(shardId, epoch);
  }
}

function lengthOf(request: FastifyRequest): { bytes: number } | undefined {
  const bytes = Number(request.headers['content-length']);
  return Number.isSafeInteger(bytes) ? { bytes } : undefined;
}
