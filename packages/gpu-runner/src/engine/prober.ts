import { newId } from '@batch-infer/contracts';
import { canaryBody } from './canary.js';
import { classify, type Verdict } from './classify.js';
import type { EngineCall, EngineRequest } from './client.js';
import type { EngineReply } from './reply.js';
import type { ProbeResult } from './standing.js';

/** Longer than a busy engine needs to let one small request in. */
const PROBE_TIMEOUT_MS = 10_000;
/** Routes that an engine is asked on while none of its items has named one. */
const USUAL_PATHS = ['/v1/chat/completions', '/v1/embeddings'] as const;

export interface Target {
  readonly path: string;
  readonly model: string;
}

/** Asks an engine with small requests of our own. They count for no item and for no window. */
export class Prober {
  readonly #post: (request: EngineRequest) => EngineCall;
  readonly #calls = new Set<EngineCall>();

  constructor(post: (request: EngineRequest) => EngineCall) {
    this.#post = post;
  }

  /** `null` where no small request is known for the route. */
  forTarget({ path, model }: Target): (() => Promise<ProbeResult>) | null {
    const body = canaryBody(path, model);
    if (body === null) return null;
    return async () => {
      const call = this.#post({ path, body, requestId: newId('req'), timeoutMs: PROBE_TIMEOUT_MS });
      this.#calls.add(call);
      const reply = await call.reply;
      this.#calls.delete(call);
      const verdict = judged(path, reply);
      if (verdict === null || (!verdict.ok && verdict.code === 'item_timeout'))
        return { outcome: 'unanswered' };
      return verdict.ok ? { outcome: 'passed' } : { outcome: 'failed', failure: verdict };
    };
  }

  /** Whether the engine answers anything at all, asked on the last route that was used, else on the usual ones. */
  async any(last: Target | null, models: readonly string[]): Promise<ProbeResult> {
    const [model] = models;
    const usual = model === undefined ? [] : USUAL_PATHS.map((path) => ({ path, model }));
    let result: ProbeResult = { outcome: 'unanswered' };
    for (const target of last === null ? usual : [last]) {
      result = (await this.forTarget(target)?.()) ?? result;
      if (result.outcome === 'passed') break;
    }
    return result;
  }

  close(): void {
    for (const call of this.#calls) call.abort();
  }
}

/** An answer that cannot be judged at all tells nothing. */
function judged(path: string, reply: EngineReply): Verdict | null {
  try {
    return classify(path, reply);
  } catch {
    return null;
  }
}
