import { describe, expect, it } from 'vitest';
import type { ApiKeyRecord, ProjectRecord } from '../ports/access.js';
import type { LedgerWorld } from './world-conformance.js';

const DAY_MS = 86_400_000;

/** Projects and API keys. */
export function accessConformance(world: () => LedgerWorld): void {
  const project = (fields: Partial<ProjectRecord> = {}): ProjectRecord => ({
    id: 'proj_a',
    name: 'A',
    weight: 1,
    maxRunningItems: null,
    createdAtMs: world().nowMs,
    ...fields,
  });

  const key = async (fields: Partial<ApiKeyRecord> = {}): Promise<ApiKeyRecord> => {
    const record: ApiKeyRecord = {
      id: 'key_1',
      projectId: 'proj_a',
      name: 'one',
      hash: 'a'.repeat(64),
      scopes: ['read', 'write'],
      createdAtMs: world().nowMs,
      expiresAtMs: null,
      revokedAtMs: null,
      lastUsedAtMs: null,
      rotatedTo: null,
      ...fields,
    };
    await world().ledger.createApiKey({ key: record });
    return record;
  };

  const rotate = (successorId: string, fields: { id?: string; projectId?: string | null } = {}) =>
    world().ledger.rotateApiKey({
      id: 'key_1',
      projectId: null,
      successor: { id: successorId, hash: 'b'.repeat(64) },
      endsAtMs: world().nowMs + DAY_MS,
      nowMs: world().nowMs,
      ...fields,
    });

  describe('projects', () => {
    it('are made once, changed and listed', async () => {
      const { ledger } = world();
      const made = project({ weight: 2.5, maxRunningItems: 512 });
      expect(await ledger.createProject({ project: made })).toEqual({ outcome: 'created', project: made });
      const again = await ledger.createProject({ project: project({ name: 'other' }) });
      expect(again).toEqual({ outcome: 'exists', project: made });
      expect(await ledger.updateProject({ id: 'proj_a', maxRunningItems: null })).toEqual({
        ...made,
        maxRunningItems: null,
      });
      expect(await ledger.updateProject({ id: 'proj_a', name: 'B', weight: 3 })).toMatchObject({
        name: 'B',
        weight: 3,
      });
      expect(await ledger.updateProject({ id: 'proj_x', weight: 3 })).toBeNull();
      expect(await ledger.getProject({ id: 'proj_x' })).toBeNull();
      expect((await ledger.listProjects()).map(({ id }) => id)).toContain('proj_a');
    });
  });

  describe('API keys', () => {
    it('are kept, found by id, and listed by project, newest first', async () => {
      const { ledger } = world();
      expect(await ledger.hasApiKeys()).toBe(false);
      const first = await key({ expiresAtMs: world().nowMs + DAY_MS });
      world().nowMs += 1;
      const second = await key({ id: 'key_2' });
      const foreign = await key({ id: 'key_3', projectId: '*', scopes: ['admin'] });
      expect(await ledger.hasApiKeys()).toBe(true);
      expect(await ledger.getApiKey({ id: 'key_1' })).toEqual(first);
      expect(await ledger.getApiKey({ id: 'key_9' })).toBeNull();
      expect(await ledger.listApiKeys({ projectId: 'proj_a' })).toEqual([second, first]);
      expect(await ledger.listApiKeys({ projectId: null })).toEqual([foreign, second, first]);
    });

    it('are revoked once, by their project or by the server', async () => {
      const { ledger } = world();
      await key();
      const { nowMs } = world();
      expect(await ledger.revokeApiKey({ id: 'key_1', projectId: 'proj_b', nowMs })).toBeNull();
      expect(await ledger.revokeApiKey({ id: 'key_1', projectId: 'proj_a', nowMs })).toMatchObject({
        revokedAtMs: nowMs,
      });
      const later = { id: 'key_1', projectId: null, nowMs: nowMs + 5 };
      expect(await ledger.revokeApiKey(later)).toMatchObject({ revokedAtMs: nowMs });
      expect(await ledger.hasApiKeys()).toBe(true);
    });

    it('are rotated: the new one lives on, the old one ends in its time', async () => {
      const { ledger } = world();
      const old = await key({ expiresAtMs: world().nowMs + 90 * DAY_MS });
      world().nowMs += 10 * DAY_MS;
      expect(await rotate('key_2')).toEqual({
        outcome: 'rotated',
        key: {
          ...old,
          id: 'key_2',
          hash: 'b'.repeat(64),
          createdAtMs: world().nowMs,
          expiresAtMs: world().nowMs + 90 * DAY_MS,
        },
      });
      expect(await ledger.getApiKey({ id: 'key_1' })).toEqual({
        ...old,
        expiresAtMs: world().nowMs + DAY_MS,
        rotatedTo: 'key_2',
      });
    });

    it('are never more than two: a successor that nobody used is replaced, one in use stays', async () => {
      const { ledger } = world();
      await key();
      await rotate('key_2');
      expect(await rotate('key_3')).toMatchObject({ outcome: 'rotated' });
      expect(await ledger.getApiKey({ id: 'key_2' })).toMatchObject({ revokedAtMs: world().nowMs });
      await ledger.touchApiKey({ id: 'key_3', nowMs: world().nowMs });
      expect(await rotate('key_4')).toEqual({ outcome: 'already_rotated' });
      await ledger.revokeApiKey({ id: 'key_3', projectId: null, nowMs: world().nowMs });
      expect(await rotate('key_4')).toMatchObject({ outcome: 'rotated' });
    });

    it('are not rotated from another project, nor when they have ended', async () => {
      await key();
      expect(await rotate('key_2', { projectId: 'proj_b' })).toEqual({ outcome: 'not_found' });
      expect(await rotate('key_2', { id: 'key_9' })).toEqual({ outcome: 'not_found' });
      await world().ledger.revokeApiKey({ id: 'key_1', projectId: null, nowMs: world().nowMs });
      expect(await rotate('key_2')).toEqual({ outcome: 'not_active' });
    });

    it('remember their use, once a minute', async () => {
      const { ledger } = world();
      await key();
      const usedAt = async (nowMs: number) => {
        await ledger.touchApiKey({ id: 'key_1', nowMs });
        return (await ledger.getApiKey({ id: 'key_1' }))?.lastUsedAtMs;
      };
      expect(await usedAt(1_000)).toBe(1_000);
      expect(await usedAt(60_999)).toBe(1_000);
      expect(await usedAt(61_000)).toBe(61_000);
    });
  });
}
