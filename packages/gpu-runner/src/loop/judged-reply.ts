import { classify, type Verdict } from '../engine/classify.js';
import type { EngineReply } from '../engine/reply.js';

/** An answer that is so odd that it cannot even be judged fails its item, and nothing else. */
export async function judged(
  path: string,
  coming: Promise<EngineReply>,
): Promise<{ reply: EngineReply; verdict: Verdict | null }> {
  let reply: EngineReply = { kind: 'unreadable', ms: 0 };
  try {
    reply = await coming;
    return { reply, verdict: classify(path, reply) };
  } catch {
    return { reply, verdict: classify(path, { kind: 'unreadable', ms: reply.ms }) };
  }
}
