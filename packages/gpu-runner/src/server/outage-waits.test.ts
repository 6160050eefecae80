import { expect, test } from 'vitest';
import { ManualClock } from '../../test/manual-clock.js';
import { OutageWaits } from './outage-waits.js';

function setUp() {
  const clock = new ManualClock();
  const waits = new OutageWaits(clock);
  const ended: string[] = [];
  const wait = (name: string, delayMs: number, signal = new AbortController().signal) =>
    void waits.wait(delayMs, signal).then(() => ended.push(name));
  return { clock, waits, ended, wait };
}

test('a wait ends at its time', async () => {
  const { clock, ended, wait } = setUp();
  wait('a', 100);
  await clock.advance(99);
  expect(ended).toEqual([]);
  await clock.advance(1);
  expect(ended).toEqual(['a']);
});

test('all waits end when the control plane is back, and those after it at their time again', async () => {
  const { clock, waits, ended, wait } = setUp();
  wait('a', 5_000);
  wait('b', 3_000);
  waits.end();
  wait('c', 100);
  await clock.advance(0);
  expect(ended).toEqual(['a', 'b']);
  await clock.advance(100);
  expect(ended).toEqual(['a', 'b', 'c']);
});

test('a wait ends when nobody needs it any more', async () => {
  const { clock, ended, wait } = setUp();
  const stopping = new AbortController();
  wait('a', 5_000, stopping.signal);
  stopping.abort();
  wait('b', 5_000, stopping.signal);
  await clock.advance(0);
  expect(ended).toEqual(['a', 'b']);
});
