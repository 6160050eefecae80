import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors.js';
import { rawProblem } from './framework-errors.js';

export interface SlowBodyRule {
  /** In any window of this length a body brings at least so many bytes, or its connection is cut. */
  readonly windowMs: number;
  readonly leastBytes: number;
}

/** Far below any line that is worth uploading over; a client that pauses for half a minute is taken for gone. */
const SLOW_BODY: SlowBodyRule = { windowMs: 30_000, leastBytes: 1_024 };

const tooSlow = (): string =>
  rawProblem(
    new DomainError(
      'request_timeout',
      'The body stood still for too long, and was given up. Send the request again.',
    ),
  );

/**
 * Rules for bodies that hold for every route, whatever reads them:
 * - compressed ones are refused, so that none can be a thousand times what it seems to be;
 * - those that hardly move are cut off. Uploads may take hours and long polls wait: it is progress that counts, not time.
 *
 * Register behind authentication: who may not ask is told so first.
 */
export function registerBodyRules(fastify: FastifyInstance, rule: SlowBodyRule = SLOW_BODY): void {
  const slow = new SlowBodies(rule);
  fastify.addHook('onRequest', async (request, reply) => {
    refuseCompressed(request);
    if (hasBody(request)) slow.watch(request, reply);
  });
  fastify.addHook('onListen', async () => slow.start());
  fastify.addHook('onClose', async () => slow.stop());
}

/** @throws DomainError `unsupported_media_type` */
function refuseCompressed(request: FastifyRequest): void {
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined || /^(?:identity)?$/i.test(encoding.trim())) return;
  throw new DomainError(
    'unsupported_media_type',
    'Bodies are taken as they are, without content-encoding: send this one uncompressed.',
    { param: 'content-encoding' },
  );
}

const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

interface OpenBody {
  readonly reply: FastifyReply;
  /** What its connection had brought when the window began; `null`: it came amid a window. */
  bytesBefore: number | null;
}

class SlowBodies {
  readonly #rule: SlowBodyRule;
  readonly #open = new Map<FastifyRequest['raw'], OpenBody>();
  #timer: NodeJS.Timeout | null = null;

  constructor(rule: SlowBodyRule) {
    this.#rule = rule;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#endWindow(), this.#rule.windowMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  watch({ raw }: FastifyRequest, reply: FastifyReply): void {
    this.#open.set(raw, { reply, bytesBefore: null });
    raw.once('close', () => this.#open.delete(raw));
  }

  #endWindow(): void {
    for (const [raw, body] of this.#open) {
      const { bytesRead } = raw.socket;
      // Bytes that wait to be read: then it is we who are slow.
      const isWaiting = !raw.complete && raw.readableLength === 0;
      const brought = body.bytesBefore === null ? Number.POSITIVE_INFINITY : bytesRead - body.bytesBefore;
      if (isWaiting && brought < this.#rule.leastBytes) {
        if (!body.reply.raw.headersSent) raw.socket.write(tooSlow());
        raw.destroy();
      }
      body.bytesBefore = bytesRead;
    }
  }
}
