import type { Clock } from '../src/clock.js';
import type { EngineCall, EngineConnection, EngineRequest } from '../src/engine/client.js';
import type { EngineReply } from '../src/engine/reply.js';

/** What an engine answers to every request between two moments, in milliseconds, whatever the request. */
export interface Mood {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly status: number;
  readonly body: string;
  readonly retryAfterMs: number | null;
  /** It takes so long to refuse. */
  readonly afterMs: number;
}

/** What it answers to requests whose body holds this text, at all times. */
export interface Poison {
  readonly text: string;
  readonly status: number;
  readonly body: string;
  readonly retryAfterMs: number | null;
}

export interface MoodyEngineOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly model: string;
  readonly serviceMs: number;
  readonly slots: number;
  readonly moods: readonly Mood[];
  readonly poisons: readonly Poison[];
  /** Its list lacks the model, and so does it, between these moments. */
  readonly without: readonly {
    readonly fromMs: number;
    readonly untilMs: number;
    readonly other: string | null;
  }[];
  /** What `/health` says when the engine is well; `silent`: nothing. */
  readonly health: number | 'silent';
}

const REFUSAL_MS = 2;

/** An engine on virtual time, as the runner's client sees it. */
export class MoodyEngine implements EngineConnection {
  /** How often each request body was received. */
  readonly received = new Map<string, number>();
  readonly #options: MoodyEngineOptions;
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(options: MoodyEngineOptions) {
    this.#options = options;
  }

  get models(): readonly string[] {
    const gap = this.#gap;
    if (gap === undefined) return [this.#options.model];
    return gap.other === null ? [] : [gap.other];
  }

  post(request: EngineRequest): EngineCall {
    const { clock } = this.#options;
    const startedAtMs = clock.nowMs();
    let abort = () => {};
    const reply = new Promise<EngineReply>((resolve) => {
      const cancel = clock.after(request.timeoutMs, () =>
        resolve({ kind: 'timeout', ms: request.timeoutMs }),
      );
      abort = () => {
        cancel();
        resolve({ kind: 'aborted', ms: clock.nowMs() - startedAtMs });
      };
      this.#serve(request, (answer) => {
        cancel();
        const { status, body, retryAfterMs } = answer;
        const ms = clock.nowMs() - startedAtMs;
        resolve({ kind: 'answer', status, body: Buffer.from(body), retryAfterMs, ms });
      });
    });
    return { reply, abort: () => abort() };
  }

  get(path: string, timeoutMs: number): Promise<EngineReply> {
    const { clock, health } = this.#options;
    return new Promise((resolve) => {
      const known = path === '/health';
      if (known && health === 'silent') {
        clock.after(timeoutMs, () => resolve({ kind: 'timeout', ms: timeoutMs }));
        return;
      }
      const status = known && health !== 'silent' ? health : 404;
      const answer = { status, body: Buffer.from(''), retryAfterMs: null };
      clock.after(1, () => resolve({ kind: 'answer', ...answer, ms: 1 }));
    });
  }

  async close(): Promise<void> {}

  get #gap() {
    const nowMs = this.#options.clock.nowMs();
    return this.#options.without.find(({ fromMs, untilMs }) => nowMs >= fromMs && nowMs < untilMs);
  }

  #serve(
    request: EngineRequest,
    answer: (said: Pick<Mood, 'status' | 'body' | 'retryAfterMs'>) => void,
  ): void {
    const { clock, moods, model, poisons } = this.#options;
    const text = Buffer.from(request.body).toString();
    this.received.set(text, (this.received.get(text) ?? 0) + 1);
    const nowMs = clock.nowMs();
    const mood = moods.find(({ fromMs, untilMs }) => nowMs >= fromMs && nowMs < untilMs);
    const poison = poisons.find((one) => text.includes(one.text));
    if (mood !== undefined) clock.after(mood.afterMs, () => answer(mood));
    else if (this.#gap !== undefined) {
      const error = { message: `The model \`${model}\` does not exist.`, param: 'model', code: 404 };
      clock.after(REFUSAL_MS, () =>
        answer({ status: 404, body: JSON.stringify({ error }), retryAfterMs: null }),
      );
    } else if (poison !== undefined) clock.after(REFUSAL_MS, () => answer(poison));
    else this.#run(() => answer({ status: 200, body: COMPLETION, retryAfterMs: null }));
  }

  #run(end: () => void): void {
    const { clock, random, serviceMs, slots } = this.#options;
    if (this.#running >= slots) {
      this.#queue.push(end);
      return;
    }
    this.#running += 1;
    clock.after(serviceMs * (0.5 + random()), () => {
      this.#running -= 1;
      end();
      const next = this.#queue.shift();
      if (next !== undefined) this.#run(next);
    });
  }
}

const COMPLETION = JSON.stringify({
  choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 5, completion_tokens: 5 },
});
