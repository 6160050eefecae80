import type { Clock } from '../../clock.js';
import { type Json, parseExactObject } from '../answer.js';
import { classify } from '../classify.js';
import type { EngineCall, EngineRequest } from '../client.js';
import type { EngineAnswer, EngineReply } from '../reply.js';
import { toMessage } from './message-answer.js';
import { toChatRequest } from './message-request.js';

export const MESSAGES_PATH = '/v1/messages';
const CHAT_PATH = '/v1/chat/completions';

/** What of `EngineClient` this needs. */
export interface PostClient {
  post(request: EngineRequest): EngineCall;
}

/** An engine that has no such route is asked again after this: a proxy may have said so in its place. */
const ASK_AGAIN_MS = 60_000;
/** One that served it so recently still has it, whatever is said; after a restart it may be another program. */
const SERVED_MS = 30_000;

/**
 * `/v1/messages` at one engine: as it is when the engine serves it, as chat completions while the engine says that it does
 * not. A refusal shortly after answers of its own is that of a moment, and is told as it is. Whoever asked sees an Anthropic
 * message either way.
 */
export class MessagesRoute {
  readonly #client: PostClient;
  readonly #clock: Pick<Clock, 'nowMs'>;
  #servedAtMs = Number.NEGATIVE_INFINITY;
  #translatesUntilMs = Number.NEGATIVE_INFINITY;

  constructor(client: PostClient, clock: Pick<Clock, 'nowMs'>) {
    this.#client = client;
    this.#clock = clock;
  }

  post(request: EngineRequest): EngineCall {
    if (this.#clock.nowMs() < this.#translatesUntilMs) return this.#translated(request);
    let call = this.#client.post(request);
    const reply = call.reply.then(async (first) => {
      if (isPassed(first)) this.#servedAtMs = this.#clock.nowMs();
      if (!lacksRoute(first) || this.#clock.nowMs() - this.#servedAtMs < SERVED_MS) return first;
      call = this.#translated({ ...request, timeoutMs: Math.max(1, request.timeoutMs - first.ms) });
      const second = await call.reply;
      // Where nothing has passed, it may have been the proxy that refused both.
      if (isPassed(second)) this.#translatesUntilMs = this.#clock.nowMs() + ASK_AGAIN_MS;
      return { ...second, ms: first.ms + second.ms };
    });
    return { reply, abort: () => call.abort() };
  }

  #translated(request: EngineRequest): EngineCall {
    const text = Buffer.from(request.body).toString('utf8');
    const chat = toChatRequest(parseExactObject(text) ?? {});
    if (!chat.ok) return { reply: Promise.resolve(refusal(chat)), abort: () => undefined };
    const body = Buffer.from(JSON.stringify(chat.body));
    const call = this.#client.post({ ...request, path: CHAT_PATH, body });
    return {
      reply: call.reply.then((answer) => translateReply(answer, chat.body)),
      abort: () => call.abort(),
    };
  }
}

/** By its status alone: an answer may be large, and is judged by others. */
const isPassed = (reply: EngineReply): boolean =>
  reply.kind === 'answer' && reply.status >= 200 && reply.status < 300;

function lacksRoute(reply: EngineReply): boolean {
  if (reply.kind !== 'answer' || reply.status < 400) return false;
  const verdict = classify(MESSAGES_PATH, reply);
  return verdict?.ok === false && verdict.code === 'unsupported_endpoint';
}

/** Answers become messages; errors, and answers that are no completion, are left for the judge as they are. */
function translateReply(reply: EngineReply, { model }: Json): EngineReply {
  if (reply.kind !== 'answer' || reply.status < 200 || reply.status >= 300) return reply;
  const completion = parseExactObject(reply.body.toString('utf8'));
  const message = completion === null ? null : toMessage(completion, model);
  return message === null ? reply : { ...reply, body: Buffer.from(JSON.stringify(message)) };
}

/** What the engine would say to a request that it cannot take: nothing was sent. */
function refusal({ param, message }: { param: string; message: string }): EngineAnswer {
  const error = { message, type: 'invalid_request_error', param, code: null };
  return {
    kind: 'answer',
    status: 400,
    retryAfterMs: null,
    body: Buffer.from(JSON.stringify({ error })),
    ms: 0,
  };
}
