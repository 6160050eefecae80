import type { Insertable, Selectable } from 'kysely';
import { type AccessLedger, type ApiKeyRecord, isActive, type ProjectRecord } from '../ports/access.js';
import type { Database, Session } from './dialect.js';
import type { ApiKeyTable, ProjectTable } from './schema.js';

/** Uses of a key closer together than this are written once. */
const TOUCH_INTERVAL_MS = 60_000;

/** Projects and API keys in the ledger. */
export function accessLedger(database: Database): AccessLedger {
  const { db } = database;
  return {
    createProject: ({ project }) => createProject(database, project),
    updateProject: (params) => updateProject(database, params),
    getProject: (params) => findProject(database, params.id),
    listProjects: async () =>
      (await db.selectFrom('project').selectAll().orderBy('id').execute()).map(toProject),
    createApiKey: async ({ key }) => {
      await db.insertInto('api_key').values(toKeyRow(key)).execute();
    },
    getApiKey: ({ id }) => findKey(database, id),
    listApiKeys: async ({ projectId }) => {
      const rows = await db
        .selectFrom('api_key')
        .selectAll()
        .$if(projectId !== null, (query) => query.where('project_id', '=', projectId))
        .orderBy('created_at', 'desc')
        .orderBy('id', 'desc')
        .execute();
      return rows.map(toKey);
    },
    hasApiKeys: async () =>
      (await db.selectFrom('api_key').select('id').limit(1).executeTakeFirst()) !== undefined,
    revokeApiKey: (params) => revokeApiKey(database, params),
    rotateApiKey: (params) => rotateApiKey(database, params),
    touchApiKey: async ({ id, nowMs }) => {
      await db
        .updateTable('api_key')
        .set({ last_used_at: nowMs })
        .where('id', '=', id)
        .where(({ eb, or }) =>
          or([eb('last_used_at', 'is', null), eb('last_used_at', '<=', nowMs - TOUCH_INTERVAL_MS)]),
        )
        .execute();
    },
  };
}

async function createProject(
  { db }: Database,
  project: ProjectRecord,
): ReturnType<AccessLedger['createProject']> {
  const inserted = await db
    .insertInto('project')
    .values({
      id: project.id,
      name: project.name,
      weight: project.weight,
      max_running_items: project.maxRunningItems,
      created_at: project.createdAtMs,
    })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .returningAll()
    .executeTakeFirst();
  if (inserted !== undefined) return { outcome: 'created', project: toProject(inserted) };
  const row = await db
    .selectFrom('project')
    .selectAll()
    .where('id', '=', project.id)
    .executeTakeFirstOrThrow();
  return { outcome: 'exists', project: toProject(row) };
}

async function updateProject(
  database: Database,
  { id, name, weight, maxRunningItems }: Parameters<AccessLedger['updateProject']>[0],
): Promise<ProjectRecord | null> {
  const change = {
    ...(name === undefined ? {} : { name }),
    ...(weight === undefined ? {} : { weight }),
    ...(maxRunningItems === undefined ? {} : { max_running_items: maxRunningItems }),
  };
  if (Object.keys(change).length > 0) {
    await database.db.updateTable('project').set(change).where('id', '=', id).execute();
  }
  return findProject(database, id);
}

async function findProject({ db }: Session, id: string): Promise<ProjectRecord | null> {
  const row = await db.selectFrom('project').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? null : toProject(row);
}

async function findKey({ db, locksRows }: Session, id: string, forChange = false) {
  const row = await db
    .selectFrom('api_key')
    .selectAll()
    .where('id', '=', id)
    .$if(forChange && locksRows, (query) => query.forUpdate())
    .executeTakeFirst();
  return row === undefined ? null : toKey(row);
}

async function revokeApiKey(
  database: Database,
  { id, projectId, nowMs }: Parameters<AccessLedger['revokeApiKey']>[0],
): Promise<ApiKeyRecord | null> {
  return database.transaction(async (session) => {
    const key = await findKey(session, id, true);
    if (key === null || (projectId !== null && key.projectId !== projectId)) return null;
    if (key.revokedAtMs !== null) return key;
    await session.db.updateTable('api_key').set({ revoked_at: nowMs }).where('id', '=', id).execute();
    return { ...key, revokedAtMs: nowMs };
  });
}

async function rotateApiKey(
  database: Database,
  { id, projectId, successor, endsAtMs, nowMs }: Parameters<AccessLedger['rotateApiKey']>[0],
): ReturnType<AccessLedger['rotateApiKey']> {
  return database.transaction(async (session) => {
    const { db } = session;
    const old = await findKey(session, id, true);
    if (old === null || (projectId !== null && old.projectId !== projectId)) return { outcome: 'not_found' };
    if (!isActive(old, nowMs)) return { outcome: 'not_active' };
    const earlier = old.rotatedTo === null ? null : await findKey(session, old.rotatedTo, true);
    if (earlier !== null && isActive(earlier, nowMs)) {
      if (earlier.lastUsedAtMs !== null) return { outcome: 'already_rotated' };
      await db.updateTable('api_key').set({ revoked_at: nowMs }).where('id', '=', earlier.id).execute();
    }
    const key: ApiKeyRecord = {
      ...old,
      ...successor,
      createdAtMs: nowMs,
      // It lives as long as the old one was meant to.
      expiresAtMs: nextExpiry(earlier ?? old, nowMs),
      lastUsedAtMs: null,
      rotatedTo: null,
    };
    await db.insertInto('api_key').values(toKeyRow(key)).execute();
    await db
      .updateTable('api_key')
      .set({ rotated_to: key.id, expires_at: Math.min(old.expiresAtMs ?? endsAtMs, endsAtMs) })
      .where('id', '=', id)
      .execute();
    return { outcome: 'rotated', key };
  });
}

const nextExpiry = ({ createdAtMs, expiresAtMs }: ApiKeyRecord, nowMs: number): number | null =>
  expiresAtMs === null ? null : nowMs + (expiresAtMs - createdAtMs);

const toProject = (row: Selectable<ProjectTable>): ProjectRecord => ({
  id: row.id,
  name: row.name,
  weight: row.weight,
  maxRunningItems: row.max_running_items,
  createdAtMs: row.created_at,
});

const toKey = (row: Selectable<ApiKeyTable>): ApiKeyRecord => ({
  id: row.id,
  projectId: row.project_id,
  name: row.name,
  hash: row.hash,
  scopes: JSON.parse(row.scopes),
  createdAtMs: row.created_at,
  expiresAtMs: row.expires_at,
  revokedAtMs: row.revoked_at,
  lastUsedAtMs: row.last_used_at,
  rotatedTo: row.rotated_to,
});

const toKeyRow = (key: ApiKeyRecord): Insertable<ApiKeyTable> => ({
  id: key.id,
  project_id: key.projectId,
  name: key.name,
  hash: key.hash,
  scopes: JSON.stringify(key.scopes),
  created_at: key.createdAtMs,
  expires_at: key.expiresAtMs,
  revoked_at: key.revokedAtMs,
  last_used_at: key.lastUsedAtMs,
  rotated_to: key.rotatedTo,
});
