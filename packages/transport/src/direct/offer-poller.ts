import {
  type Offer,
  type PollOffersRequest,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  pollOffersResponse,
} from '@batch-infer/contracts/runner-protocol';
import { type Dispatcher, request } from 'undici';

/** The control plane answered a poll with an error status. */
class PollRefusedError extends Error {
  override readonly name = 'PollRefusedError';
}

export interface OfferPollerOptions {
  readonly serverUrl: string;
  readonly runnerId: string;
  readonly apiKey: string | null;
  readonly models: readonly string[];
  readonly waitMs: number;
  readonly dispatcher: Dispatcher | null;
}

/** `POST /v1/runner/offers`. */
export class OfferPoller {
  readonly #options: OfferPollerOptions;
  readonly #url: string;

  constructor(options: OfferPollerOptions) {
    this.#options = options;
    this.#url = new URL('/v1/runner/offers', options.serverUrl).href;
  }

  /**
   * The offers of one long poll; none when its time was over.
   * @throws PollRefusedError when the server answers with an error; undici's errors when it does not answer.
   */
  async poll(params: { max: number; signal: AbortSignal }): Promise<Offer[]> {
    const { runnerId, models, waitMs, apiKey, dispatcher } = this.#options;
    const body: PollOffersRequest = {
      runner_id: runnerId,
      models: [...models],
      max: Math.min(params.max, 256),
      wait_ms: waitMs,
    };
    const response = await request(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        [PROTOCOL_HEADER]: String(PROTOCOL_VERSION),
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify(body),
      signal: params.signal,
      // A server that died without closing the connection must not hold the poll for ever.
      headersTimeout: waitMs + 10_000,
      bodyTimeout: 10_000,
      ...(dispatcher === null ? {} : { dispatcher }),
    });
    const text = await response.body.text();
    if (response.statusCode !== 200) throw new PollRefusedError(refusal(response.statusCode, text));
    return pollOffersResponse.parse(JSON.parse(text)).offers;
  }
}

/** `400 Runner and control plane speak different protocol versions …`, from the problem document where there is one. */
function refusal(status: number, text: string): string {
  try {
    const problem: unknown = JSON.parse(text);
    if (typeof problem === 'object' && problem !== null && 'detail' in problem) {
      return `${status} ${String(problem.detail)}`;
    }
  } catch {
    // Not a problem document: a proxy's page, perhaps. The status says enough.
  }
  return `status ${status}`;
}
