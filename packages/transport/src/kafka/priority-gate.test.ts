import type { Priority } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import { PriorityGate } from './priority-gate.js';

/** A visitor of the gate that stays inside until it is let go. */
function visit(gate: PriorityGate, priority: Priority, order: Priority[]) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const passed = gate.pass(priority, async () => {
    order.push(priority);
    await promise;
    return 'done';
  });
  return { leave: resolve, passed };
}

/** Long enough for the gate to admit somebody. */
const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

describe('the priority gate', () => {
  it('lets those that come together through one at a time, high before normal before low', async () => {
    const gate = new PriorityGate({ open: true });
    const order: Priority[] = [];
    const visitors = (['low', 'normal', 'high', 'low', 'high'] as const).map((priority) =>
      visit(gate, priority, order),
    );
    await settled();
    expect(order).toEqual(['high']);
    for (const { leave } of visitors) leave();
    await Promise.all(visitors.map(({ passed }) => passed));
    expect(order).toEqual(['high', 'high', 'normal', 'low', 'low']);
  });

  it('turns away who waits when it shuts, and lets who is inside finish', async () => {
    const gate = new PriorityGate({ open: true });
    const order: Priority[] = [];
    const inside = visit(gate, 'low', order);
    await settled();
    const waiting = visit(gate, 'high', order);
    gate.shut();
    expect(await waiting.passed).toBeNull();
    inside.leave();
    expect(await inside.passed).toBe('done');
    expect(await gate.pass('high', async () => 'in')).toBeNull();
    gate.open();
    expect(await gate.pass('high', async () => 'in')).toBe('in');
  });

  it('prefers the next record of a high lane to a normal one that has waited', async () => {
    const gate = new PriorityGate({ open: true });
    const order: Priority[] = [];
    const record = (priority: Priority) => gate.pass(priority, async () => order.push(priority));
    const batch = async (priority: Priority) => {
      for (let index = 0; index < 3; index += 1) await record(priority);
    };
    await Promise.all([batch('normal'), batch('high')]);
    expect(order).toEqual(['high', 'high', 'high', 'normal', 'normal', 'normal']);
  });

  it('goes on after work that failed', async () => {
    const gate = new PriorityGate({ open: true });
    await expect(gate.pass('high', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await gate.pass('low', async () => 'in')).toBe('in');
  });
});
