import type { SettleResponse } from '@batch-infer/contracts/runner-protocol';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../test/manual-clock.js';
import { ServerError } from '../server/client.js';
import { OutageWaits } from '../server/outage-waits.js';
import { type OutcomeLine, Settler } from './settler.js';

const TAKEN: SettleResponse = { accepted: 1, repeated: 0, shard_done: false, stop: false };

/** A line of this text, and what stands in its place when it is refused. */
const lineOf = (text: string | Uint8Array): OutcomeLine => ({
  pieces: [Buffer.from(text)],
  ok: true,
  asFailure: (reason) => ({ pieces: [Buffer.from(`(${reason})`)], ok: false, asFailure: null }),
});

/** A settler whose control plane answers as told, or as `judge` says; `undefined` answers well. */
function setUp(
  answers: (Error | undefined)[] = [],
  judge: (segment: string) => SettleResponse | Error = () => TAKEN,
) {
  const clock = new ManualClock();
  const segments: string[] = [];
  const events: string[] = [];
  const waits = new OutageWaits(clock);
  const settler = new Settler({
    settle: async (segment) => {
      segments.push(Buffer.from(segment).toString());
      const error = answers.shift();
      if (error !== undefined) throw error;
      const answer = judge(Buffer.from(segment).toString());
      if (answer instanceof Error) throw answer;
      return answer;
    },
    clock,
    waits,
    random: () => 0.5,
    onSettled: (_response, lines) => events.push(`settled ${lines}`),
    onRoom: () => {},
    onRefused: (line, reason) => events.push(`${line.pieces.join('')} refused: ${reason}`),
    onDropped: (why) => events.push(why),
    onTrouble: () => events.push('trouble'),
  });
  const add = (count: number, text = 'x') => {
    for (let line = 0; line < count; line += 1) settler.add(lineOf(text));
  };
  return { clock, waits, segments, events, settler, add };
}

const away = new ServerError(0, null, 'away');

describe('outcomes of a shard', () => {
  test('are handed over after a second', async () => {
    const { clock, events, add } = setUp();
    add(3);
    await clock.advance(999);
    expect(events).toEqual([]);
    await clock.advance(1);
    expect(events).toEqual(['settled 3']);
  });

  test('are handed over at once when there are 64, and when asked for', async () => {
    const { clock, events, settler, add } = setUp();
    await clock.advance(500);
    add(64);
    await clock.advance(0);
    expect(events).toEqual(['settled 64']);
    add(1);
    await settler.flush();
    expect(events).toEqual(['settled 64', 'settled 1']);
    expect(settler.unsettled).toBe(0);
  });

  test('of a fast engine are handed over twice a second', async () => {
    const { clock, events, settler, add } = setUp();
    for (let step = 0; step < 40; step += 1) {
      add(30);
      await clock.advance(25);
    }
    expect(events).toEqual(['settled 600', 'settled 600']);
    add(10);
    await settler.flush();
    expect(events.at(-1)).toBe('settled 10');
  });

  test('wait while the control plane is away, and the segment is repeated as it was', async () => {
    const { clock, segments, events, add } = setUp([away, new ServerError(503, null, 'no')]);
    add(64, 'a');
    await clock.advance(500);
    add(2, 'b');
    await clock.advance(10_000);
    expect(segments.slice(0, 3)).toEqual(Array.from({ length: 3 }, () => 'a'.repeat(64)));
    expect(events).toEqual(['trouble', 'trouble', 'settled 64', 'settled 2']);
  });

  test('are handed over in the moment the control plane is back', async () => {
    const { clock, waits, events, add } = setUp(Array.from({ length: 6 }, () => away));
    add(64);
    // Six attempts: the next one would come more than two seconds later.
    for (let tries = 1; tries <= 6; tries += 1) {
      await clock.advance(tries === 1 ? 500 : 0);
      expect(events).toHaveLength(tries);
      waits.end();
    }
    await clock.advance(0);
    expect(events.at(-1)).toBe('settled 64');
  });

  test('are dropped when the lease is lost', async () => {
    const { clock, events, settler, add } = setUp([new ServerError(409, 'lease_lost', 'gone')]);
    add(64);
    await clock.advance(500);
    add(5);
    await clock.advance(5_000);
    expect(events).toEqual(['lost']);
    expect(settler.unsettled).toBe(0);
  });

  test('that are large go in several segments', async () => {
    const { segments, settler } = setUp();
    for (let line = 0; line < 5; line += 1) settler.add(lineOf(Buffer.alloc(7 * 1024 * 1024)));
    await settler.flush();
    expect(segments.every((segment) => segment.length <= 16 * 1024 * 1024)).toBe(true);
    expect(segments.join('').length).toBe(35 * 1024 * 1024);
  });

  test('are not waited for after the end', async () => {
    const { clock, settler, add } = setUp([away, away, away]);
    add(3);
    const flushed = settler.flush();
    await clock.advance(10);
    settler.stop();
    await flushed;
    expect(settler.unsettled).toBe(0);
  });
});

describe('what the control plane refuses', () => {
  const error = (status: number) => new ServerError(status, null, `${status}`);
  const others = 'abcdefgh';

  test('costs one item, whatever it is refused for: the neighbours are taken', async () => {
    for (const status of [400, 413, 422, 500]) {
      const { clock, events, settler } = setUp([], (segment) =>
        segment.includes('!') ? error(status) : TAKEN,
      );
      for (const text of 'abc!defgh') settler.add(lineOf(text));
      const flushed = settler.flush();
      await clock.advance(120_000);
      await flushed;
      expect(events.filter((event) => event.includes('refused'))).toEqual([`! refused: ${status}`]);
      const settled = events.flatMap((event) => /^settled (\d+)/.exec(event)?.[1] ?? []).map(Number);
      expect(settled.reduce((sum, lines) => sum + lines, 0)).toBe(9);
      expect(settler.unsettled).toBe(0);
    }
  });

  test('line by line becomes failures of those items, and nothing else is sent again', async () => {
    const { segments, events, settler } = setUp([], (segment) =>
      segment.length === 8
        ? {
            ...TAKEN,
            refused: [
              { line: 2, reason: 'odd' },
              { line: 5, reason: 'bad' },
            ],
          }
        : TAKEN,
    );
    for (const text of others) settler.add(lineOf(text));
    await settler.flush();
    expect(segments).toEqual([others, '(odd)(bad)']);
    expect(events).toEqual(['c refused: odd', 'f refused: bad', 'settled 6', 'settled 2']);
  });

  test('in every form is given up once, and not tried for ever', async () => {
    const { clock, segments, events, settler } = setUp([], () => error(400));
    for (const text of others) settler.add(lineOf(text));
    await settler.flush();
    await clock.advance(60_000);
    expect(events).toEqual(['refused']);
    // The whole, its halves down to one line, and the failure of that.
    expect(segments).toEqual(['abcdefgh', 'abcd', 'ab', 'a', '(400)']);
    const lineByLine = setUp([], () => ({ ...TAKEN, accepted: 0, refused: [{ line: 0, reason: 'no' }] }));
    lineByLine.add(1);
    await lineByLine.settler.flush();
    expect(lineByLine.events).toEqual(['x refused: no', 'settled 0', 'refused']);
  });

  test('with 500 is not given up while nothing else is taken either', async () => {
    let isBroken = true;
    const { clock, segments, events, settler } = setUp([], () => (isBroken ? error(500) : TAKEN));
    for (const text of others) settler.add(lineOf(text));
    void settler.flush();
    await clock.advance(300_000);
    expect(events.filter((event) => event !== 'trouble')).toEqual([]);
    isBroken = false;
    const before = segments.length;
    await clock.advance(30_000);
    expect(events.filter((event) => event.includes('refused'))).toEqual([]);
    expect(segments.slice(before).join('').split('').sort().join('')).toBe(others);
    expect(settler.unsettled).toBe(0);
  });

  test.each([401, 403, 404, 405, 408, 429, 502, 503, 504, 507])(
    'with %i is about the way there: it is kept and offered again, unhurried',
    async (status) => {
      const { clock, segments, events, add } = setUp([], () => error(status));
      add(3);
      await clock.advance(60_000);
      expect(events.every((event) => event === 'trouble')).toBe(true);
      expect(new Set(segments)).toEqual(new Set(['xxx']));
      expect(segments.length).toBeLessThan(60);
    },
  );
});
