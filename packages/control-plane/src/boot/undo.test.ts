import { describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../telemetry/logger.js';
import { Undo } from './undo.js';

describe('closing what was opened', () => {
  it('goes backwards, tries every step, and tells all that failed', async () => {
    const done: string[] = [];
    const undo = new Undo(silentLogger());
    undo.add('first', () => done.push('first'));
    undo.add('second', () => {
      throw new Error('broken');
    });
    undo.add('third', async () => done.push('third'));
    await expect(undo.run()).rejects.toMatchObject({ errors: [new Error('broken')] });
    expect(done).toEqual(['third', 'first']);
  });

  it('leaves a step behind that hangs, and says which', async () => {
    const logger = silentLogger();
    const warnings = vi.spyOn(logger, 'warn');
    const undo = new Undo(logger);
    let closed = false;
    undo.add('ledger', () => {
      closed = true;
    });
    undo.add('loops', () => new Promise(() => {}), 10);
    await undo.run();
    expect(closed).toBe(true);
    expect(warnings).toHaveBeenCalledWith({ step: 'loops', limitMs: 10 }, expect.any(String));
  });
});
