import { type Offer, offer as offerSchema } from '@batch-infer/contracts/runner-protocol';
import type { KafkaHeaders, ReceivedRecord, RecordToSend } from './kafka-client.js';

const TRACE_HEADER = 'traceparent';
/** https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
/** Larger than any offer, far smaller than what a stranger may put into a topic. */
const MAX_OFFER_BYTES = 64 * 1024;

/** The record of an offer: JSON in the value, the shard as key. */
export function encodeOffer(
  offer: Offer,
  place: { readonly topic: string; readonly partition: number },
  traceparent: string | null,
): RecordToSend {
  return {
    ...place,
    key: offer.shard_id,
    value: JSON.stringify(offer),
    headers: traceparent !== null && TRACEPARENT.test(traceparent) ? { [TRACE_HEADER]: traceparent } : {},
  };
}

export type DecodedOffer =
  | { readonly outcome: 'offer'; readonly offer: Offer; readonly traceparent: string | null }
  | { readonly outcome: 'undecodable'; readonly reason: string };

const undecodable = (reason: string): DecodedOffer => ({ outcome: 'undecodable', reason });

/** Reads a record of a model's lane. The reason of a refusal names fields, never contents. */
export function decodeOffer(record: ReceivedRecord, model: string): DecodedOffer {
  const { value } = record;
  if (value === null || value.length === 0) return undecodable('the value is empty');
  if (value.length > MAX_OFFER_BYTES) return undecodable(`the value has more than ${MAX_OFFER_BYTES} bytes`);
  const json = parseJson(value);
  if (json === null) return undecodable('the value is not a JSON object');
  const parsed = offerSchema.safeParse(json);
  if (!parsed.success) {
    const fields = parsed.error.issues.map((issue) => issue.path.join('.') || 'value');
    return undecodable(`not an offer: ${[...new Set(fields)].join(', ')}`);
  }
  if (parsed.data.model !== model) return undecodable('an offer of another model');
  return { outcome: 'offer', offer: parsed.data, traceparent: readTraceparent(record.headers) };
}

function parseJson(value: Buffer): object | null {
  try {
    const parsed: unknown = JSON.parse(value.toString('utf8'));
    return typeof parsed === 'object' ? parsed : null;
  } catch {
    return null;
  }
}

function readTraceparent(headers: KafkaHeaders): string | null {
  const text = headers[TRACE_HEADER]?.toString('utf8') ?? '';
  return TRACEPARENT.test(text) ? text : null;
}
