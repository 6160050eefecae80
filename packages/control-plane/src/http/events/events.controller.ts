import { PassThrough } from 'node:stream';
import { Controller, Get, Inject, Param, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type JobEvent, JobEvents } from '../../events/job-events.js';
import { type Caller, CurrentCaller, ProjectId } from '../auth/project.js';
import { clientSignal, headerOf } from '../request-context.js';
import { OpenStreams } from './open-streams.js';
import { EVENT_STREAM_HEADERS, KEEP_ALIVE, toEvent } from './server-sent-events.js';

const KEEP_ALIVE_MS = 15_000;
/** How soon a reader is to come back when the stream breaks. */
const RETRY = 'retry: 1000\n\n';

/** `GET /v1/jobs/{id}/events`. */
@Controller('v1/jobs')
export class EventsController {
  readonly #events: JobEvents;
  readonly #streams = new OpenStreams();

  constructor(@Inject(JobEvents) events: JobEvents) {
    this.#events = events;
  }

  /** `Last-Event-ID`, as readers send it by themselves, or `?last_event_id=`. 204 tells them not to come back. */
  @Get(':id/events')
  async events(
    @ProjectId() projectId: string,
    @CurrentCaller() { keyId }: Caller,
    @Param('id') id: string,
    @Query('last_event_id') given: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const lastEventId =
      headerOf(request, 'last-event-id') ?? (typeof given === 'string' && given !== '' ? given : null);
    const signal = clientSignal(reply);
    const events = await this.#events.follow({ projectId, id, lastEventId, signal });
    if (events === null) {
      await reply.status(204).send();
      return;
    }
    // The owner of a server without keys limits himself.
    const end = keyId === null ? () => undefined : this.#streams.begin(projectId);
    const body = new PassThrough();
    body.write(RETRY);
    const timer = setInterval(() => body.write(KEEP_ALIVE), KEEP_ALIVE_MS);
    void pass(events, body).finally(() => {
      clearInterval(timer);
      end();
    });
    await reply.headers(EVENT_STREAM_HEADERS).send(body);
  }
}

async function pass(events: AsyncGenerator<JobEvent>, body: PassThrough): Promise<void> {
  try {
    for await (const { name, id, job } of events) {
      // A reader that takes nothing must not fill the memory.
      if (!body.write(toEvent({ name, id, data: JSON.stringify(job) }))) await drained(body);
      if (body.destroyed) return;
    }
    body.end();
  } catch {
    // The client is gone, or the ledger: the reader comes back and goes on behind what it has seen.
    body.destroy();
  }
}

function drained(body: PassThrough): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      body.off('drain', done).off('close', done);
      resolve();
    };
    body.once('drain', done).once('close', done);
  });
}
