import { describe, expect, it } from 'vitest';
import { newId, toBatchId, toJobId, toMessageBatchId, toResponseId } from './ids.js';

describe('ids', () => {
  it('are a prefix and a UUIDv7 in hex, safe in URLs', () => {
    expect(newId('job')).toMatch(/^job_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    expect(newId('file')).toMatch(/^file-[0-9a-f]{32}$/);
  });

  it('sort by creation time', () => {
    const ids = [1_000, 2_000, 1_800_000_000_000, 1_800_000_000_001].map((nowMs) => newId('job', nowMs));
    expect([...ids].sort()).toEqual(ids);
  });

  it('carry the time they were made at in their first 48 bits', () => {
    const nowMs = 1_795_516_800_123;
    expect(Number.parseInt(newId('job', nowMs).slice(4, 16), 16)).toBe(nowMs);
  });

  it('are all different, however many are made at one moment', () => {
    const ids = Array.from({ length: 5_000 }, () => newId('req', 1_000));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id) => /^req_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/.test(id))).toBe(true);
  });

  it('name one job in three dialects, and as a background response', () => {
    const id = newId('job');
    expect(toJobId(toBatchId(id))).toBe(id);
    expect(toJobId(toMessageBatchId(id))).toBe(id);
    expect(toJobId(toResponseId(id))).toBe(id);
    expect(toResponseId(id)).toMatch(/^resp_[0-9a-f]{32}$/);
    expect(toBatchId(id)).toMatch(/^batch_[0-9a-f]{32}$/);
    expect(toMessageBatchId(id)).toMatch(/^msgbatch_[0-9a-f]{32}$/);
  });
});
