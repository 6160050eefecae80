import { randomUUID } from 'node:crypto';
import { monotonicClock } from '../../packages/gpu-runner/dist/clock.js';
import { classify, type Verdict } from '../../packages/gpu-runner/dist/engine/classify.js';
import { type EngineCall, EngineClient } from '../../packages/gpu-runner/dist/engine/client.js';
import type { EngineReply } from '../../packages/gpu-runner/dist/engine/reply.js';

export const CHAT = '/v1/chat/completions';
const TIMEOUT_MS = 600_000;

export type { EngineReply };

/** What one request brought: the reply as the runner's own client read it, and what its classifier makes of it. */
export interface Answer {
  readonly reply: EngineReply;
  readonly verdict: Verdict | null;
  /** 0 without an answer. */
  readonly status: number;
  /** Empty without an answer. */
  readonly body: string;
  readonly ms: number;
}

/** The engine, seen through the client and the classifier of our runner. */
export class EngineAccess {
  readonly url: string;
  readonly model: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #client: EngineClient;

  constructor(url: string, model: string, apiKey: string | null) {
    this.url = url;
    this.model = model;
    this.#headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
    this.#client = new EngineClient({ url, apiKey, connections: 256, clock: monotonicClock });
  }

  /** A chat of one user text and at most so many tokens; `ignore_eos` makes every answer as long as that. */
  chatBody(text: string, maxTokens: number, more: Readonly<Record<string, unknown>> = {}) {
    const messages = [{ role: 'user', content: text }];
    return { model: this.model, messages, max_tokens: maxTokens, temperature: 0, ignore_eos: true, ...more };
  }

  /** Tokens of prompt and answer together, as `/v1/models` says. */
  async maxModelLen(): Promise<number> {
    const answer = await fetch(`${this.url}/v1/models`, { headers: this.#headers });
    const { data } = (await answer.json()) as {
      data: readonly { readonly id: string; readonly max_model_len?: number }[];
    };
    const length = data.find(({ id }) => id === this.model)?.max_model_len;
    if (length === undefined) throw new Error(`/v1/models does not say how long a context ${this.model} has`);
    return length;
  }

  call(body: unknown): EngineCall {
    return this.#client.post({
      path: CHAT,
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      requestId: `validate-${randomUUID()}`,
      timeoutMs: TIMEOUT_MS,
    });
  }

  async ask(body: unknown): Promise<Answer> {
    return judged(await this.call(body).reply);
  }

  async metricsPage(): Promise<string> {
    const signal = AbortSignal.timeout(10_000);
    const answer = await fetch(`${this.url}/metrics`, { headers: this.#headers, signal });
    if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`);
    return await answer.text();
  }

  /** Sum over all labels of a metric; NaN when the page has none of that name. */
  async metric(name: string): Promise<number> {
    return sumOf(await this.metricsPage(), name);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

export function judged(reply: EngineReply): Answer {
  const answered = reply.kind === 'answer';
  return {
    reply,
    verdict: classify(CHAT, reply),
    status: answered ? reply.status : 0,
    body: answered ? reply.body.toString('utf8') : '',
    ms: reply.ms,
  };
}

/** What the classifier says, in a word. */
export function wordFor({ verdict }: Pick<Answer, 'verdict'>): string {
  if (verdict === null) return 'aborted by us';
  return verdict.ok ? 'success' : verdict.code;
}

export function sumOf(page: string, name: string): number {
  const values = page
    .split('\n')
    .filter((line) => /^[^{\s]+/.exec(line)?.[0] === name)
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0);
}
