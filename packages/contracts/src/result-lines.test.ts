import { describe, expect, it } from 'vitest';
import { itemError } from './failures.js';
import { type Body, type EndedItem, nativeLine, openAiLine, readNativeLine } from './result-lines.js';

const text = (pieces: readonly Body[]): string =>
  pieces.map((piece) => (typeof piece === 'string' ? piece : Buffer.from(piece).toString())).join('');
const bytes = (body: string): Uint8Array => new TextEncoder().encode(body);

const header = { c: 'a\u2028\u0085"\\\ud83d\ude00', ok: true, st: 200, a: 1, ms: 12.5, r: 'req_1' };
const settled = (
  changes: Partial<typeof header> & { e?: ReturnType<typeof itemError> },
  body = '',
): EndedItem => ({
  ended: 'settled',
  index: 300,
  header: { ...header, ...changes },
  body: bytes(body),
});
const refusal = String.raw`{"error": {"message": "no\u2028\n", "type": "t", "param": null, "code": "c", "extra": 1.0}}`;

/** Where Python's `splitlines` splits. */
const PYTHON_LINE_BREAKS = '\n\r\v\f\u001c\u001d\u001e\u0085\u2028\u2029';

/** An item for every kind of end. */
const ITEMS: Readonly<Record<string, EndedItem>> = {
  succeeded: settled({}, String.raw`{ "id": 1234567890123456789, "x": 1.0, "text": "\u00e9\u2028é\/" }`),
  'taken over, without a body': settled({ a: 0 }),
  'refused with the body of the engine': settled(
    { ok: false, st: 400, e: itemError('invalid_request', 'no\u2028') },
    refusal,
  ),
  'refused with a numeric code': settled(
    { ok: false, st: 400, e: itemError('invalid_request') },
    '{"error":{"message":"no","code":12345678901234567890,"extra":1.0}}',
  ),
  'refused with a page': settled({ ok: false, st: 502, e: itemError('engine_error') }, '<html>'),
  'refused with other JSON': settled(
    { ok: false, st: 422, e: itemError('invalid_request') },
    '{"detail":[1]}',
  ),
  'failed without an answer': settled({ ok: false, st: 0, e: itemError('engine_unreachable') }),
  'failed with an answer that is none': settled(
    { ok: false, st: 200, e: itemError('invalid_response') },
    refusal,
  ),
  cancelled: { ended: 'never_run', index: 7, customId: 'c\u2029', status: 'cancelled' },
  expired: { ended: 'never_run', index: 8, customId: 'e', status: 'expired' },
};

describe.each(Object.entries(ITEMS))('an item that is %s', (_kind, item) => {
  it('has the same OpenAI line wherever it is made: of the item, or of its native line', () => {
    const native = text(nativeLine(item, null));
    expect(text(openAiLine('job_ab', readNativeLine(native.trimEnd())).pieces)).toBe(
      text(openAiLine('job_ab', item).pieces),
    );
    const withCursor = text(nativeLine(item, '3.17')).trimEnd();
    expect(text(openAiLine('job_ab', readNativeLine(withCursor)).pieces)).toBe(
      text(openAiLine('job_ab', item).pieces),
    );
  });

  it('is one line of JSON for every reader', () => {
    for (const line of [text(nativeLine(item, '1.2')), text(openAiLine('job_ab', item).pieces)]) {
      expect(line.endsWith('\n')).toBe(true);
      const breaks = [...line.slice(0, -1)].filter((character) => PYTHON_LINE_BREAKS.includes(character));
      expect(breaks).toEqual([]);
      expect(() => JSON.parse(line)).not.toThrow();
    }
  });
});

describe('a line in the form of OpenAI', () => {
  const line = (kind: string) => text(openAiLine('job_ab', ITEMS[kind] ?? settled({})).pieces);

  it('has status, request id and the untouched body of an answer', () => {
    expect(line('succeeded')).toContain(
      String.raw`"response":{"status_code":200,"request_id":"req_1","body":{ "id": 1234567890123456789, "x": 1.0, "text": "\u00e9\u2028é\/" }},"error":null}`,
    );
    expect(JSON.parse(line('succeeded'))).toMatchObject({ id: 'batch_req_ab0000012c', custom_id: header.c });
    expect(line('refused with the body of the engine')).toContain(
      `"response":{"status_code":400,"request_id":"req_1","body":${refusal}},"error":null}`,
    );
  });

  it('tells what is no error body in our words, and what had no answer as an error', () => {
    expect(JSON.parse(line('refused with a page'))).toMatchObject({
      response: {
        status_code: 502,
        body: { error: { code: 'engine_error', type: 'server_error', param: null } },
      },
    });
    expect(JSON.parse(line('failed without an answer'))).toMatchObject({
      response: null,
      error: { code: 'engine_unreachable' },
    });
    expect(JSON.parse(line('expired'))).toMatchObject({ response: null, error: { code: 'batch_expired' } });
    expect(JSON.parse(line('cancelled'))).toMatchObject({
      response: null,
      error: { code: 'batch_cancelled' },
    });
  });
});
