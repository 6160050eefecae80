import { newId } from '@batch-infer/contracts';
import { describe, expect, it } from 'vitest';
import type { UploadPartRecord, UploadRecord } from '../ports/uploads.js';
import type { LedgerWorld } from './world-conformance.js';

/** Files that come in parts. */
export function uploadsConformance(world: () => LedgerWorld): void {
  const uploadOf = (overrides: Partial<UploadRecord> = {}): UploadRecord => ({
    id: newId('upload', world().nowMs),
    projectId: world().project,
    state: 'pending',
    filename: 'input.jsonl',
    purpose: 'batch',
    mimeType: 'text/jsonl',
    bytes: 100,
    fileExpiresAfterSeconds: 3_600,
    fileId: null,
    createdAtMs: world().nowMs,
    expiresAtMs: world().nowMs + 3_600_000,
    ...overrides,
  });
  const create = async (overrides: Partial<UploadRecord> = {}): Promise<UploadRecord> => {
    const upload = uploadOf(overrides);
    const idempotency = world().claimOf({ route: 'POST /v1/uploads', fingerprint: upload.id });
    const { nowMs } = world();
    expect(await world().ledger.createUpload({ upload, idempotency, nowMs })).toMatchObject({
      outcome: 'created',
    });
    return upload;
  };
  const add = async (
    upload: UploadRecord,
    overrides: Partial<UploadPartRecord> & { key?: string; projectId?: string } = {},
  ) => {
    const { key = null, projectId = upload.projectId, ...fields } = overrides;
    const id = newId('part', world().nowMs);
    const part: UploadPartRecord = {
      id,
      uploadId: upload.id,
      bytes: 40,
      blobKey: `${upload.projectId}/uploads/${upload.id}/${id}`,
      createdAtMs: world().nowMs,
      ...fields,
    };
    const idempotency = world().claimOf({
      route: `part of ${upload.id}`,
      fingerprint: String(part.bytes),
      key,
    });
    const added = await world().ledger.addUploadPart({
      projectId,
      part,
      maxBytes: 100,
      idempotency,
      nowMs: world().nowMs,
    });
    return { part, added };
  };
  const get = (upload: UploadRecord, projectId = upload.projectId) =>
    world().ledger.getUpload({ projectId, id: upload.id });
  const end = (upload: UploadRecord, state: 'completed' | 'cancelled', fileId: string | null = null) =>
    world().ledger.endUpload({
      projectId: upload.projectId,
      id: upload.id,
      state,
      fileId,
      nowMs: world().nowMs,
    });
  const parts = (upload: UploadRecord) => world().ledger.listUploadParts({ uploadId: upload.id });
  const isReferenced = (key: string) => world().ledger.isBlobReferenced({ key });

  describe('an upload', () => {
    it('is as it was made, for its project only, and made once for a key', async () => {
      const upload = uploadOf();
      const idempotency = world().claimOf({ route: 'POST /v1/uploads', key: 'k' });
      const { nowMs, ledger } = world();
      expect(await ledger.createUpload({ upload, idempotency, nowMs })).toEqual({
        outcome: 'created',
        record: upload,
      });
      expect(await ledger.createUpload({ upload: uploadOf(), idempotency, nowMs })).toEqual({
        outcome: 'replayed',
        record: upload,
      });
      expect(await get(upload)).toEqual(upload);
      expect(await get(upload, 'proj_two')).toBeNull();
    });

    it('takes parts while it is pending, up to its cap, each once for a key', async () => {
      const upload = await create();
      const first = await add(upload, { key: 'one' });
      expect(first.added).toEqual({ outcome: 'created', record: first.part });
      expect((await add(upload, { key: 'one' })).added).toEqual({ outcome: 'replayed', record: first.part });
      const second = await add(upload);
      expect((await add(upload)).added).toEqual({ outcome: 'too_much' });
      expect(await parts(upload)).toEqual(expect.arrayContaining([first.part, second.part]));
      expect(await parts(upload)).toHaveLength(2);
      expect((await add(upload, { projectId: 'proj_two' })).added).toBeNull();
      expect(await isReferenced(first.part.blobKey)).toBe(true);
    });

    it('is ended once, and lets go of its parts', async () => {
      const upload = await create();
      const { part } = await add(upload);
      expect(await end(upload, 'completed', 'file-1')).toEqual({
        upload: { ...upload, state: 'completed', fileId: 'file-1' },
        blobKeys: [part.blobKey],
      });
      expect(await end(upload, 'cancelled')).toMatchObject({
        upload: { state: 'completed', fileId: 'file-1' },
        blobKeys: [],
      });
      expect((await add(upload)).added).toEqual({ outcome: 'not_pending' });
      expect(await parts(upload)).toEqual([]);
      expect(await isReferenced(part.blobKey)).toBe(false);
      expect(await end({ ...upload, projectId: 'proj_two' }, 'cancelled')).toBeNull();
    });

    it('answers a part that is sent again as before, also when it is completed', async () => {
      const upload = await create();
      const { part } = await add(upload, { key: 'one' });
      await end(upload, 'completed', 'file-1');
      expect((await add(upload, { key: 'one' })).added).toMatchObject({
        outcome: 'replayed',
        record: { id: part.id, uploadId: upload.id },
      });
      expect((await add(upload, { key: 'two' })).added).toEqual({ outcome: 'not_pending' });
      expect((await add(upload, { key: 'one', bytes: 41 })).added).toEqual({ outcome: 'not_pending' });
      const cancelled = await create();
      await add(cancelled, { key: 'one' });
      await end(cancelled, 'cancelled');
      expect((await add(cancelled, { key: 'one' })).added).toEqual({ outcome: 'not_pending' });
    });

    it('expires when its time is over, and only then', async () => {
      const upload = await create();
      const late = await create({ expiresAtMs: world().nowMs + 7_200_000 });
      const done = await create();
      await end(done, 'cancelled');
      const { part } = await add(upload);
      const expire = () => world().ledger.expireUploads({ nowMs: world().nowMs, limit: 10 });
      expect(await expire()).toEqual([]);
      world().nowMs += 3_600_000;
      expect((await add(upload)).added).toEqual({ outcome: 'not_pending' });
      expect(await expire()).toEqual([part.blobKey]);
      expect(await expire()).toEqual([]);
      expect((await get(upload))?.state).toBe('expired');
      expect((await get(late))?.state).toBe('pending');
      expect((await get(done))?.state).toBe('cancelled');
    });
  });
}
