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

/**
 * `/v1/messages` at one engine: as it is when the engine serves it, as chat completions from the first time on that the
 * engine says it does not. Whoever asked sees an Anthropic message either way.
 */
export class MessagesRoute {
  readonly #client: PostClient;
  #translates = false;

  constructor(client: PostClient) {
    this.#client = client;
  }

  post(request: EngineRequest): EngineCall {
    if (this.#translates) return this.#translated(request);
    let call = this.#client.post(request);
    const reply = call.reply.then(async (first) => {
      if (!lacksRoute(first)) return first;
      this.#translates = true;
      call = this.#translated({ ...request, timeoutMs: Math.max(1, request.timeoutMs - first.ms) });
      const second = await call.reply;
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
