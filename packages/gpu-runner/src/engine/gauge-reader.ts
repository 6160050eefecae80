import type { EngineGauges } from '../window/controller.js';
import { parseGauges } from '../window/gauges.js';
import { isJsonObject, parseJsonObject } from './answer.js';
import type { EngineClient } from './client.js';

const METRICS_TIMEOUT_MS = 1_500;
/** An engine without `/metrics` is asked again after so many looks. */
const METRICS_AGAIN_LOOKS = 60;

/** Reads what an engine says of how busy it is. */
export class GaugeReader {
  /** True for llama.cpp, which tells its places elsewhere. */
  llamaCpp = false;
  readonly #client: Pick<EngineClient, 'get'>;
  #slots: number | null = null;
  #metricsIn = 0;

  constructor(client: Pick<EngineClient, 'get'>) {
    this.#client = client;
  }

  /** The gauges, `null` where there are none, and how long it took; `null` when there is nothing new. */
  async read(): Promise<{ readonly gauges: EngineGauges | null; readonly ms: number } | null> {
    this.#metricsIn -= 1;
    if (this.#metricsIn > 0) return null;
    if (this.llamaCpp && this.#slots === null) this.#slots = await this.#readSlots();
    const reply = await this.#client.get('/metrics', METRICS_TIMEOUT_MS);
    if (reply.kind !== 'answer') return null;
    const gauges = reply.status === 200 ? parseGauges(reply.body.toString('utf8'), this.#slots) : null;
    this.#metricsIn = gauges === null ? METRICS_AGAIN_LOOKS : 0;
    return { gauges, ms: reply.ms };
  }

  async #readSlots(): Promise<number | null> {
    const reply = await this.#client.get('/props', METRICS_TIMEOUT_MS);
    const props = reply.kind === 'answer' ? parseJsonObject(reply.body.toString('utf8')) : null;
    const slots = isJsonObject(props) ? props.total_slots : null;
    return typeof slots === 'number' && slots > 0 ? slots : null;
  }
}
