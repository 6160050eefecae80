import { encodeSegmentLine, type SegmentHeader } from '@batch-infer/contracts';
import type { ClaimResponse, Lease, PollOffersResponse } from '@batch-infer/contracts/runner-protocol';
import type { ApiCaller } from './api-caller.ts';

const RUNNER_ID = 'run_by_hand';
export const MODEL = 'm';

const report = {
  runner_id: RUNNER_ID,
  version: '0.0.0',
  models: [MODEL],
  engines: [{ id: 'engine-0', models: [MODEL], healthy: true, window: 8, in_flight: 0, problem: null }],
  free_slots: 8,
  in_flight: 0,
  items_per_second: 1,
};

/** A runner that speaks the runners' protocol request by request, and answers items itself. */
export class HandRunner {
  readonly #api: ApiCaller;
  readonly #ending = new AbortController();

  constructor(api: ApiCaller) {
    this.#api = api;
  }

  /** Opens a session that stays open until `close()`. */
  async open(): Promise<void> {
    const session = await this.#api.call('openRunnerSession', { body: report, signal: this.#ending.signal });
    const reader = session.body?.getReader();
    await reader?.read();
    const drain = async (): Promise<void> => {
      while (reader !== undefined && !(await reader.read()).done);
    };
    void drain().catch(() => undefined);
    await this.renew([]);
  }

  close(): void {
    this.#ending.abort();
  }

  /** The next lease; `null` when nothing was offered within `waitMs`. */
  async next(waitMs: number): Promise<Lease | null> {
    const body = { runner_id: RUNNER_ID, models: [MODEL], max: 1, wait_ms: waitMs };
    const { offers } = await this.#api.json<PollOffersResponse>('pollOffers', { body });
    const [offer] = offers;
    if (offer === undefined) return null;
    const claim = { runner_id: RUNNER_ID, shard_id: offer.shard_id, epoch: offer.epoch };
    const answer = await this.#api.json<ClaimResponse>('claimShard', { body: claim });
    return answer.outcome === 'claimed' ? answer.lease : null;
  }

  async renew(leases: readonly Lease[]): Promise<void> {
    const held = leases.map(({ shard_id, epoch }) => ({ shard_id, epoch }));
    await this.#api.call('renewLeases', { body: { ...report, leases: held } });
  }

  async release({ shard_id: id, epoch }: Lease): Promise<void> {
    await this.#api.call('releaseShard', { id, body: { runner_id: RUNNER_ID, epoch, reason: 'overload' } });
  }

  /** Reads the lines of a lease and hands over what an engine would say to the first `count` of them. */
  async settle(lease: Lease, count = lease.count): Promise<void> {
    const query = { epoch: String(lease.epoch), runner_id: RUNNER_ID };
    const text = await this.#api.text('getShardLines', { id: lease.shard_id, query });
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    const segment = Buffer.concat(
      lines.slice(lease.skip, lease.skip + count).map((line, position) => {
        const index = lease.first_index + position;
        const { custom_id: customId, url } = JSON.parse(line) as { custom_id?: string; url?: string };
        const header: SegmentHeader = {
          i: index,
          c: customId ?? String(index),
          ok: true,
          st: 200,
          a: 1,
          ms: 5,
          r: `req_${index}`,
          u: [3, 0, 2, 0],
        };
        const answer = JSON.stringify(answerOf(url ?? lease.endpoint ?? ''));
        return encodeSegmentLine(header, Buffer.from(answer));
      }),
    );
    await this.#api.call('settleShard', { id: lease.shard_id, query, body: Uint8Array.from(segment) });
  }

  /** Answers whatever is offered until `stop()`. */
  serve(): { stop(): Promise<void> } {
    let isServing = true;
    const serving = (async () => {
      while (isServing) {
        const lease = await this.next(500);
        if (lease !== null) await this.settle(lease);
      }
    })();
    serving.catch(() => undefined);
    return {
      stop: async () => {
        isServing = false;
        await serving;
      },
    };
  }
}

/** A small answer in the words of each endpoint. */
function answerOf(endpoint: string): object {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
  const base = { id: 'answer-1', created: 1, model: MODEL, usage };
  switch (endpoint) {
    case '/v1/embeddings':
      return {
        object: 'list',
        model: MODEL,
        data: [{ object: 'embedding', index: 0, embedding: [0.5] }],
        usage,
      };
    case '/v1/completions':
      return {
        ...base,
        object: 'text_completion',
        choices: [{ index: 0, text: 'a', finish_reason: 'stop' }],
      };
    case '/v1/messages':
      return {
        ...{ id: 'msg_1', type: 'message', role: 'assistant', model: MODEL, stop_reason: 'end_turn' },
        ...{ stop_sequence: null, content: [{ type: 'text', text: 'a' }] },
        usage: { input_tokens: 3, output_tokens: 2 },
      };
    case '/v1/responses':
      return {
        id: 'resp_1',
        object: 'response',
        created_at: 1,
        status: 'completed',
        model: MODEL,
        output: [],
      };
    default: {
      const message = { role: 'assistant', content: 'a' };
      return { ...base, object: 'chat.completion', choices: [{ index: 0, message, finish_reason: 'stop' }] };
    }
  }
}
