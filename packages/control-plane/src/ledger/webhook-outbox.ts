import { newId } from '@batch-infer/contracts';
import type { Insertable, Selectable } from 'kysely';
import { isOfLane } from '../ports/lanes.js';
import { eventTypeOf, toWebhookEvent } from '../webhooks/job-event.js';
import type { Session } from './dialect.js';
import { toJobRecord } from './rows.js';
import type { JobTable, WebhookDeliveryTable } from './schema.js';

/**
 * Writes the deliveries of a job's end, in the transaction that ends it: an event is neither lost nor made up. `row` is
 * the job as it is now.
 */
export async function writeWebhooks(
  session: Session,
  row: Selectable<JobTable>,
  nowMs: number,
): Promise<void> {
  const job = toJobRecord(row);
  const type = eventTypeOf(job);
  if (type === null) return;
  const { webhook, metadata } = job.options;
  const endpoints = isOfLane(metadata) ? [] : await endpointsOf(session, job.projectId);
  const eventId = newId('evt', nowMs);
  const payload = JSON.stringify(toWebhookEvent({ eventId, type, job, nowMs }));
  const receivers = [
    ...(webhook !== undefined && (webhook.events ?? [type]).includes(type)
      ? [{ endpoint_id: null, url: webhook.url, secret: webhook.secret ?? null }]
      : []),
    ...endpoints
      .filter(({ event_types: types }) => JSON.parse(types).includes(type))
      .map(({ id, url }) => ({ endpoint_id: id, url, secret: null })),
  ];
  if (receivers.length === 0) return;
  const deliveries = receivers.map(
    (receiver): Insertable<WebhookDeliveryTable> => ({
      ...receiver,
      id: newId('whd', nowMs),
      event_id: eventId,
      event_type: type,
      project_id: job.projectId,
      job_id: job.id,
      payload,
      state: 'pending',
      attempts: 0,
      next_attempt_at: nowMs,
      claimed_until: null,
      last_status: null,
      last_error: null,
      created_at: nowMs,
      delivered_at: null,
    }),
  );
  await session.db.insertInto('webhook_delivery').values(deliveries).execute();
}

async function endpointsOf({ db }: Session, projectId: string) {
  return await db
    .selectFrom('webhook_endpoint')
    .select(['id', 'url', 'event_types'])
    .where('project_id', '=', projectId)
    .where('disabled_at', 'is', null)
    .execute();
}
