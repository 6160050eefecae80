import type { SettleResponse } from '@batch-infer/contracts/runner-protocol';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../test/manual-clock.js';
import { ServerError } from '../server/client.js';
import { OutageWaits } from '../server/outage-waits.js';
import { Settler } from './settler.js';

const TAKEN: SettleResponse = { accepted: 1, repeated: 0, shard_done: false, stop: false };

/** A settler whose control plane answers as told; `undefined` answers well. */
function setUp(answers: (Error | undefined)[] = []) {
  const clock = new ManualClock();
  const segments: string[] = [];
  const events: string[] = [];
  const waits = new OutageWaits(clock);
  const settler = new Settler({
    settle: async (segment) => {
      segments.push(Buffer.from(segment).toString());
      const error = answers.shift();
      if (error !== undefined) throw error;
      return TAKEN;
    },
    clock,
    waits,
    random: () => 0.5,
    onSettled: (_response, lines) => events.push(`settled ${lines}`),
    onDropped: (why) => events.push(why),
    onTrouble: () => events.push('trouble'),
  });
  const add = (count: number, text = 'x') => {
    for (let line = 0; line < count; line += 1) settler.add([Buffer.from(text)]);
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

  test('are dropped when they are refused for good', async () => {
    const { clock, events, add } = setUp([new ServerError(400, 'invalid_request', 'no')]);
    add(64);
    await clock.advance(5_000);
    expect(events).toEqual(['refused']);
  });

  test('that are large go in several segments', async () => {
    const { segments, settler } = setUp();
    for (let line = 0; line < 5; line += 1) settler.add([Buffer.alloc(7 * 1024 * 1024)]);
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
