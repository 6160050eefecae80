import {
  type PollOffersResponse,
  pollOffersRequest,
  runnerReport,
  type SessionEvent,
} from '@batch-infer/contracts/runner-protocol';
import type { OfferPublisher } from '@batch-infer/transport';
import { DirectHub } from '@batch-infer/transport/direct';
import { Controller, HttpCode, Inject, Post, Req, Res, UseGuards } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../../errors.js';
import { RunnerSessions, type Session } from '../../leases/runner-sessions.js';
import { OFFER_PUBLISHER } from '../../tokens.js';
import {
  type AuthenticatedRequest,
  type Caller,
  CurrentCaller,
  projectLimitOf,
  runnerIdentityOf,
} from '../auth/project.js';
import { Readiness } from '../health/readiness.js';
import { ClientGoneError, clientSignal } from '../request-context.js';
import { parseWith } from '../validation.js';
import { ProtocolGuard } from './protocol.guard.js';

/** The runners' two long requests: the session that shows that they live, and the poll for offers. */
@Controller('v1/runner')
@UseGuards(ProtocolGuard)
export class SessionsController {
  readonly #sessions: RunnerSessions;
  readonly #publisher: OfferPublisher;
  readonly #readiness: Readiness;

  constructor(
    @Inject(RunnerSessions) sessions: RunnerSessions,
    @Inject(OFFER_PUBLISHER) publisher: OfferPublisher,
    @Inject(Readiness) readiness: Readiness,
  ) {
    this.#sessions = sessions;
    this.#publisher = publisher;
    this.#readiness = readiness;
  }

  @Post('session')
  async session(
    @CurrentCaller() caller: Caller,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.#refuseWhileDraining();
    const report = parseWith(runnerReport, request.body);
    const response = reply.raw;
    const session: Session = {
      runnerId: report.runner_id,
      identity: runnerIdentityOf(caller),
      send: (event: SessionEvent) => {
        if (!response.headersSent) {
          // Ours from here on: the stream lives as long as the runner.
          reply.hijack();
          response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
        }
        if (!response.writableEnded) response.write(`${JSON.stringify(event)}\n`);
      },
      close: () => void response.end(),
      isAllowed: async () => (await (request as AuthenticatedRequest).isStillAllowed?.()) ?? true,
    };
    response.once('close', () => this.#sessions.ended(session));
    await this.#sessions.open(session, report);
  }

  @Post('offers')
  @HttpCode(200)
  async offers(
    @CurrentCaller() caller: Caller,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<PollOffersResponse> {
    this.#refuseWhileDraining();
    if (!(this.#publisher instanceof DirectHub)) {
      throw new DomainError(
        'invalid_request',
        'This control plane offers work over Kafka: start the runner with --kafka-brokers.',
      );
    }
    const poll = parseWith(pollOffersRequest, request.body);
    const signal = clientSignal(reply);
    const offers = await this.#publisher.poll({
      runnerId: poll.runner_id,
      models: poll.models,
      projectId: projectLimitOf(caller),
      max: poll.max,
      waitMs: poll.wait_ms,
      signal,
    });
    if (signal.aborted) {
      this.#publisher.giveBack(offers);
      throw new ClientGoneError();
    }
    return { offers };
  }

  #refuseWhileDraining(): void {
    if (this.#readiness.draining) {
      throw new DomainError(
        'shutting_down',
        'This control plane is shutting down: ask another one, or again soon.',
      );
    }
  }
}
