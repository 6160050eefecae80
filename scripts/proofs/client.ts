import { setTimeout as delay } from 'node:timers/promises';
import {
  checkInputOrder,
  checkOutcome,
  checkResults,
  checkSameSet,
  echoText,
  type StatedCounts,
  splitLines,
} from '@batch-infer/testkit';
import { FinalError, until } from './wait.js';

export const MODEL = 'sim-model';

export interface Item {
  readonly custom_id: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface JobView {
  readonly id: string;
  readonly status: string;
  readonly phase: string;
  readonly counts: StatedCounts & { readonly queued: number; readonly running: number };
}

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

/** Items whose user text starts with their custom id, which the simulated engine logs as their marker. */
export function makeItems(
  prefix: string,
  count: number,
  body: Readonly<Record<string, unknown>> = {},
): Item[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `${prefix}-${index}`;
    return {
      custom_id: id,
      body: { model: MODEL, messages: [{ role: 'user', content: `${id} says so` }], ...body },
    };
  });
}

/** Custom id of a request that the simulated engine logged. */
export const idOfMarker = (marker: string): string => marker.split(' ', 1)[0] ?? '';

export const toBatchFile = (items: readonly Item[]): string =>
  items
    .map((item) => `${JSON.stringify({ ...item, method: 'POST', url: '/v1/chat/completions' })}\n`)
    .join('');

/** The native API over bare `fetch`, as a stubborn client: it asks again when the server is away. */
export class Client {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return await fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }

  /** Creates a job under a key, again and again until it has the answer: at most one job may come of it. */
  async createJob(key: string, items: readonly Item[], options: Readonly<Record<string, unknown>> = {}) {
    const body = { model: MODEL, endpoint: '/v1/chat/completions', items, ...options };
    return await until(`a job for ${key}`, 60_000, async () => {
      const answer = await this.post('/v1/jobs', body, { 'idempotency-key': key });
      if (answer.status === 202) return (await answer.json()) as JobView;
      const text = await answer.text();
      if (answer.status < 500 && answer.status !== 409)
        throw new FinalError(`refused: ${answer.status} ${text}`);
      await delay(100);
      return null;
    });
  }

  async get<Value>(path: string): Promise<Value> {
    return (await (await this.#ok(path)).json()) as Value;
  }

  async text(path: string): Promise<string> {
    return await (await this.#ok(path)).text();
  }

  job(id: string): Promise<JobView> {
    return this.get<JobView>(`/v1/jobs/${id}`);
  }

  /** Lines of what has ended so far, in the order of its end. */
  async endedLines(id: string): Promise<string[]> {
    return splitLines(await this.text(`/v1/jobs/${id}/results?order=completion`));
  }

  ended(id: string, deadlineMs: number): Promise<JobView> {
    return until(`the end of ${id}`, deadlineMs, async () => {
      const job = await this.job(id);
      return ENDED.has(job.status) ? job : null;
    });
  }

  /**
   * I1, I2 and I11 for an ended job, in every form in which it is given out: output and error file, native results in
   * input order and in order of completion. Every answer is the one to its own request.
   */
  async check(id: string, items: readonly Item[]): Promise<StatedCounts> {
    const inputCustomIds = items.map((item) => item.custom_id);
    const { counts } = await this.job(id);
    const batch = await this.get<{ output_file_id: string | null; error_file_id: string | null }>(
      `/v1/batches/${id.replace(/^job_/, 'batch_')}`,
    );
    const outputLines = await this.#fileLines(batch.output_file_id);
    const errorLines = await this.#fileLines(batch.error_file_id);
    const ends = checkOutcome({ inputCustomIds, outputLines, errorLines, counts });
    checkInputOrder(inputCustomIds, outputLines);
    checkInputOrder(inputCustomIds, errorLines);

    const inputOrder = splitLines(await this.text(`/v1/jobs/${id}/results`));
    checkResults({ inputCustomIds, resultLines: inputOrder, counts });
    checkInputOrder(inputCustomIds, inputOrder);
    checkSameSet(inputOrder, await this.endedLines(id), answerOf);
    checkSameSet(outputLines, inputOrder.filter(isSuccess), answerOf);

    const bodies = new Map(items.map((item) => [item.custom_id, item.body]));
    for (const line of outputLines) {
      const { custom_id: customId } = JSON.parse(line) as { custom_id: string };
      const expected = echoText(bodies.get(customId) ?? {});
      if (answerOf(JSON.parse(line)) !== expected)
        throw new Error(`${customId} has the answer of another item`);
    }
    return ends;
  }

  async #fileLines(fileId: string | null): Promise<string[]> {
    return fileId === null ? [] : splitLines(await this.text(`/v1/files/${fileId}/content`));
  }

  async #ok(path: string): Promise<Response> {
    const answer = await fetch(`${this.url}${path}`);
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }
}

const isSuccess = (line: string): boolean => (JSON.parse(line) as { status: string }).status === 'succeeded';

/** The text of a result line, native or OpenAI's; null when there is none. */
export function answerOf(line: unknown): unknown {
  const { response } = line as { response?: Completion & { body?: Completion } };
  return (response?.body ?? response)?.choices?.[0]?.message?.content ?? null;
}

interface Completion {
  readonly choices?: readonly { readonly message?: { readonly content?: string } }[];
}
