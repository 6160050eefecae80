import type { Offer } from '@batch-infer/contracts/runner-protocol';
import { describe, expect, it } from 'vitest';
import type { ReceivedRecord } from './kafka-client.js';
import { decodeOffer, encodeOffer } from './offer-record.js';

const offer: Offer = {
  shard_id: 'shard_1',
  epoch: 3,
  lane: 'normal/m',
  model: 'm',
  priority: 'normal',
  items: 256,
  job_id: 'job_1',
  offered_at_ms: 1_700_000_000_000,
};
const place = { topic: 't', partition: 4 };
const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

const received = (value: string | null, headers = {}): ReceivedRecord => ({
  offset: '0',
  key: null,
  value: value === null ? null : Buffer.from(value),
  headers,
});

describe('an offer as a record', () => {
  it('comes back as it was', () => {
    const record = encodeOffer(offer, place, null);
    expect(record).toMatchObject({ ...place, key: 'shard_1', headers: {} });
    expect(decodeOffer(received(String(record.value)), 'm')).toEqual({
      outcome: 'offer',
      offer,
      traceparent: null,
    });
  });

  it('carries a trace context in its headers, when it is one', () => {
    expect(encodeOffer(offer, place, traceparent).headers).toEqual({ traceparent });
    expect(encodeOffer(offer, place, 'nonsense').headers).toEqual({});
    const headers = { traceparent: Buffer.from(traceparent) };
    expect(decodeOffer(received(JSON.stringify(offer), headers), 'm')).toMatchObject({ traceparent });
    expect(decodeOffer(received(JSON.stringify(offer), { traceparent: 'nonsense' }), 'm')).toMatchObject({
      outcome: 'offer',
      traceparent: null,
    });
  });

  it.each([
    [null, 'the value is empty'],
    ['', 'the value is empty'],
    ['{', 'the value is not a JSON object'],
    ['null', 'the value is not a JSON object'],
    ['7', 'the value is not a JSON object'],
    ['{}', 'not an offer: shard_id, epoch, lane, model, priority, items, job_id, offered_at_ms'],
    [JSON.stringify({ ...offer, priority: 'secret' }), 'not an offer: priority'],
    [JSON.stringify({ ...offer, model: 'other' }), 'an offer of another model'],
    [' '.repeat(70_000), 'the value has more than 65536 bytes'],
  ])('is undecodable otherwise, with a reason that holds no contents: %#', (value, reason) => {
    expect(decodeOffer(received(value), 'm')).toEqual({ outcome: 'undecodable', reason });
  });
});
