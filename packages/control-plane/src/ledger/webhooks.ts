import { LIMITS } from '@batch-infer/contracts';
import type { Insertable, Selectable } from 'kysely';
import { sql } from 'kysely';
import type { WebhookDeliveryRecord, WebhookEndpointRecord, WebhookLedger } from '../ports/webhooks.js';
import type { Database, Session } from './dialect.js';
import { createOnce } from './idempotency.js';
import type { WebhookDeliveryTable, WebhookEndpointTable } from './schema.js';

/** Webhooks: every method is one transaction. */
export const webhookLedger = (database: Database): WebhookLedger => ({
  createWebhookEndpoint: (params) => createEndpoint(database, params),
  getWebhookEndpoint: (params) => getEndpoint(database, params),
  listWebhookEndpoints: (params) => listEndpoints(database, params),
  updateWebhookEndpoint: (params) => updateEndpoint(database, params),
  deleteWebhookEndpoint: (params) => deleteEndpoint(database, params),
  projectWebhookSecret: ({ projectId, fresh }) =>
    database.transaction((session) => projectSecret(session, projectId, fresh)),
  listWebhookDeliveries: (params) => listDeliveries(database, params),
  redeliverWebhook: (params) => redeliver(database, params),
  claimWebhookDeliveries: (params) => claimDeliveries(database, params),
  postponeWebhookDelivery: async ({ id, untilMs }) => {
    await database.db
      .updateTable('webhook_delivery')
      .set({ next_attempt_at: untilMs, claimed_until: null })
      .where('id', '=', id)
      .where('state', '=', 'pending')
      .execute();
  },
  recordWebhookAttempt: (params) => recordAttempt(database, params),
  forgetWebhookDeliveries: async ({ beforeMs }) => {
    await database.db
      .deleteFrom('webhook_delivery')
      .where('state', '!=', 'pending')
      .where('created_at', '<', beforeMs)
      .execute();
  },
});

/** Undoes the transaction: the key of a create that was refused names nothing. */
class FullError extends Error {}

async function createEndpoint(
  database: Database,
  { endpoint, idempotency, nowMs }: Parameters<WebhookLedger['createWebhookEndpoint']>[0],
): ReturnType<WebhookLedger['createWebhookEndpoint']> {
  const { projectId } = endpoint;
  const create = async ({ db }: Session) => {
    const { count } = await db
      .selectFrom('webhook_endpoint')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('project_id', '=', projectId)
      .executeTakeFirstOrThrow();
    if (Number(count) >= LIMITS.webhookEndpoints) throw new FullError();
    await db.insertInto('webhook_endpoint').values(toEndpointRow(endpoint)).execute();
    return endpoint;
  };
  try {
    return await database.transaction(async (session) => {
      await session.serialize(`webhook endpoints of ${projectId}`);
      return createOnce(session, {
        claim: idempotency,
        recordId: endpoint.id,
        nowMs,
        find: (id) => getEndpoint(session, { projectId, id }),
        create: () => create(session),
      });
    });
  } catch (error) {
    if (error instanceof FullError) return { outcome: 'full' };
    throw error;
  }
}

async function getEndpoint(
  session: Session,
  params: { projectId: string; id: string },
): Promise<WebhookEndpointRecord | null> {
  const row = await findEndpoint(session, params);
  return row === undefined ? null : toEndpointRecord(row);
}

const findEndpoint = ({ db }: Session, { projectId, id }: { projectId: string; id: string }) =>
  db
    .selectFrom('webhook_endpoint')
    .selectAll()
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .executeTakeFirst();

async function listEndpoints(
  { db }: Database,
  { projectId, after, limit }: Parameters<WebhookLedger['listWebhookEndpoints']>[0],
): Promise<WebhookEndpointRecord[]> {
  let query = db.selectFrom('webhook_endpoint').selectAll().where('project_id', '=', projectId);
  // Ids sort by the time at which they were made.
  if (after !== undefined) query = query.where('id', '<', after);
  const rows = await query.orderBy('id', 'desc').limit(limit).execute();
  return rows.map(toEndpointRecord);
}

async function updateEndpoint(
  database: Database,
  { projectId, id, change, nowMs }: Parameters<WebhookLedger['updateWebhookEndpoint']>[0],
): Promise<WebhookEndpointRecord | null> {
  return database.transaction(async (session) => {
    const row = await findEndpoint(session, { projectId, id });
    if (row === undefined) return null;
    const record = { ...toEndpointRecord(row), ...change, disabledAtMs: null, updatedAtMs: nowMs };
    const { id: _, ...columns } = toEndpointRow(record);
    await session.db.updateTable('webhook_endpoint').set(columns).where('id', '=', id).execute();
    return record;
  });
}

async function deleteEndpoint(
  database: Database,
  params: { projectId: string; id: string },
): Promise<boolean> {
  return database.transaction(async (session) => {
    if ((await findEndpoint(session, params)) === undefined) return false;
    await session.db.deleteFrom('webhook_endpoint').where('id', '=', params.id).execute();
    await failPending(session, params.id, 'The endpoint was deleted.');
    return true;
  });
}

async function failPending({ db }: Session, endpointId: string, error: string): Promise<void> {
  await db
    .updateTable('webhook_delivery')
    .set({ state: 'failed', next_attempt_at: null, claimed_until: null, last_error: error })
    .where('endpoint_id', '=', endpointId)
    .where('state', '=', 'pending')
    .execute();
}

/** Another process may just be doing the same: the first one's secret stays. */
async function projectSecret({ db }: Session, projectId: string, fresh: string): Promise<string> {
  await db
    .insertInto('webhook_secret')
    .values({ project_id: projectId, secret: fresh })
    .onConflict((conflict) => conflict.column('project_id').doNothing())
    .execute();
  const row = await db
    .selectFrom('webhook_secret')
    .select('secret')
    .where('project_id', '=', projectId)
    .executeTakeFirstOrThrow();
  return row.secret;
}

async function listDeliveries(
  { db }: Database,
  params: Parameters<WebhookLedger['listWebhookDeliveries']>[0],
): Promise<WebhookDeliveryRecord[]> {
  let query = db.selectFrom('webhook_delivery').selectAll().where('project_id', '=', params.projectId);
  if (params.endpointId !== undefined) query = query.where('endpoint_id', '=', params.endpointId);
  if (params.jobId !== undefined) query = query.where('job_id', '=', params.jobId);
  if (params.state !== undefined) query = query.where('state', '=', params.state);
  if (params.after !== undefined) query = query.where('id', '<', params.after);
  const rows = await query.orderBy('id', 'desc').limit(params.limit).execute();
  return rows.map(toDeliveryRecord);
}

async function redeliver(
  database: Database,
  { projectId, id, nowMs }: Parameters<WebhookLedger['redeliverWebhook']>[0],
): Promise<WebhookDeliveryRecord | null> {
  const change = {
    state: 'pending' as const,
    attempts: 0,
    next_attempt_at: nowMs,
    claimed_until: null,
    delivered_at: null,
  };
  const row = await database.db
    .updateTable('webhook_delivery')
    .set(change)
    .where('id', '=', id)
    .where('project_id', '=', projectId)
    .returningAll()
    .executeTakeFirst();
  return row === undefined ? null : toDeliveryRecord(row);
}

async function claimDeliveries(
  database: Database,
  params: Parameters<WebhookLedger['claimWebhookDeliveries']>[0],
): ReturnType<WebhookLedger['claimWebhookDeliveries']> {
  const { limit, perProject = limit, roomOfProjects = new Map<string, number>(), claimMs, nowMs } = params;
  const full = [...roomOfProjects].filter(([, room]) => room <= 0).map(([projectId]) => projectId);
  const isDue = database.db
    .selectFrom('webhook_delivery')
    .select('id')
    .where('state', '=', 'pending')
    .where('next_attempt_at', '<=', nowMs)
    .where((delivery) =>
      delivery.or([delivery('claimed_until', 'is', null), delivery('claimed_until', '<=', nowMs)]),
    )
    .$if(full.length > 0, (query) => query.where('project_id', 'not in', full))
    .limit(1);
  // Asked every second: what is not there must not cost a write.
  if ((await isDue.executeTakeFirst()) === undefined) return [];
  return database.transaction(async (session) => {
    const places = session.db
      .selectFrom('webhook_delivery')
      .select(['id', 'project_id', 'next_attempt_at'])
      .select(({ fn }) =>
        fn
          .agg<number>('row_number')
          .over((over) => over.partitionBy('project_id').orderBy('next_attempt_at').orderBy('id'))
          .as('place'),
      )
      .where('state', '=', 'pending')
      .where('next_attempt_at', '<=', nowMs)
      .where((delivery) =>
        delivery.or([delivery('claimed_until', 'is', null), delivery('claimed_until', '<=', nowMs)]),
      )
      .$if(full.length > 0, (query) => query.where('project_id', 'not in', full));
    const found = await session.db
      .selectFrom(places.as('due'))
      .select(['id', 'project_id', 'place'])
      .where('place', '<=', perProject)
      .orderBy('place')
      .orderBy('next_attempt_at')
      .limit(limit)
      .execute();
    const wanted = found
      .filter(({ project_id: id, place }) => Number(place) <= (roomOfProjects.get(id) ?? perProject))
      .map(({ id }) => id);
    if (wanted.length === 0) return [];
    const rows = await session.db
      .selectFrom('webhook_delivery')
      .selectAll()
      .where('id', 'in', wanted)
      .where('state', '=', 'pending')
      .where((delivery) =>
        delivery.or([delivery('claimed_until', 'is', null), delivery('claimed_until', '<=', nowMs)]),
      )
      .orderBy('next_attempt_at')
      .$if(session.locksRows, (query) => query.forUpdate().skipLocked())
      .execute();
    if (rows.length === 0) return [];
    const ids = rows.map(({ id }) => id);
    await session.db
      .updateTable('webhook_delivery')
      .set({ claimed_until: nowMs + claimMs })
      .where('id', 'in', ids)
      .execute();
    return Promise.all(rows.map((row) => withTarget(session, row, nowMs)));
  });
}

/** An endpoint is called where it is now, signed with what it has now. */
async function withTarget(session: Session, row: Selectable<WebhookDeliveryTable>, nowMs: number) {
  const delivery = toDeliveryRecord(row);
  if (delivery.endpointId === null) return { delivery, secrets: row.secret === null ? [] : [row.secret] };
  const endpoint = await findEndpoint(session, { projectId: row.project_id, id: delivery.endpointId });
  if (endpoint === undefined) return { delivery, secrets: [] };
  const { secret, old_secret: old, old_secret_until: until } = endpoint;
  const secrets = old !== null && until !== null && until > nowMs ? [secret, old] : [secret];
  return { delivery: { ...delivery, url: endpoint.url }, secrets };
}

async function recordAttempt(
  database: Database,
  { id, attempt, nowMs }: Parameters<WebhookLedger['recordWebhookAttempt']>[0],
): Promise<void> {
  await database.transaction(async (session) => {
    const row = await session.db
      .updateTable('webhook_delivery')
      .set(({ eb }) => ({
        state: attempt.state,
        attempts: eb('attempts', '+', 1),
        next_attempt_at: attempt.nextAttemptAtMs,
        claimed_until: null,
        last_status: attempt.status,
        last_error: attempt.error,
        delivered_at: attempt.state === 'delivered' ? nowMs : null,
      }))
      .where('id', '=', id)
      .returning(['endpoint_id', 'url'])
      .executeTakeFirst();
    if (!attempt.disableEndpoint || row === undefined || row.endpoint_id === null) return;
    await session.db
      .updateTable('webhook_endpoint')
      .set({ disabled_at: nowMs })
      .where('id', '=', row.endpoint_id)
      .where(sql<boolean>`disabled_at is null`)
      .execute();
    await failPending(session, row.endpoint_id, 'The endpoint answered 410: it is disabled.');
  });
}

const toEndpointRow = (endpoint: WebhookEndpointRecord): Insertable<WebhookEndpointTable> => ({
  id: endpoint.id,
  project_id: endpoint.projectId,
  name: endpoint.name,
  url: endpoint.url,
  event_types: JSON.stringify(endpoint.eventTypes),
  secret: endpoint.secret,
  old_secret: endpoint.oldSecret,
  old_secret_until: endpoint.oldSecretUntilMs,
  disabled_at: endpoint.disabledAtMs,
  created_at: endpoint.createdAtMs,
  updated_at: endpoint.updatedAtMs,
});

const toEndpointRecord = (row: Selectable<WebhookEndpointTable>): WebhookEndpointRecord => ({
  id: row.id,
  projectId: row.project_id,
  name: row.name,
  url: row.url,
  eventTypes: JSON.parse(row.event_types),
  secret: row.secret,
  oldSecret: row.old_secret,
  oldSecretUntilMs: row.old_secret_until,
  disabledAtMs: row.disabled_at,
  createdAtMs: row.created_at,
  updatedAtMs: row.updated_at,
});

const toDeliveryRecord = (row: Selectable<WebhookDeliveryTable>): WebhookDeliveryRecord => ({
  id: row.id,
  eventId: row.event_id,
  eventType: row.event_type,
  projectId: row.project_id,
  jobId: row.job_id,
  endpointId: row.endpoint_id,
  url: row.url,
  payload: row.payload,
  state: row.state,
  attempts: row.attempts,
  nextAttemptAtMs: row.next_attempt_at,
  lastStatus: row.last_status,
  lastError: row.last_error,
  createdAtMs: row.created_at,
  deliveredAtMs: row.delivered_at,
});
