import type { ApiCaller } from './api-caller.ts';
import { HandRunner, MODEL } from './hand-runner.ts';

interface Named {
  readonly id: string;
}

const ENDPOINT = '/v1/chat/completions';
const chat = { model: MODEL, max_tokens: 1, messages: [{ role: 'user', content: 'hello' }] };
const line = (customId: string) => ({ custom_id: customId, method: 'POST', url: ENDPOINT, body: chat });
const DEADLINE_MS = 30_000;

/**
 * One good request at least to every operation of the OpenAPI document, in whole life cycles: what is asked about is
 * there, and jobs run. Returns ids of what it left behind, to ask about.
 *
 * @param options.serverKey may administer all projects
 * @param options.hook an address of webhooks that the server may call
 * @throws when an operation does not answer well, or was not called
 */
export async function sendValidRequests(
  api: ApiCaller,
  options: { serverKey: string; hook: string },
): Promise<string[]> {
  const runner = new HandRunner(api);
  await runner.open();
  try {
    const ids = [...(await leases(api, runner)), ...(await waitingJobs(api))];
    const serving = runner.serve();
    ids.push(...(await files(api)), ...(await messageBatches(api)), ...(await webhooks(api, options.hook)));
    await synchronous(api);
    await serving.stop();
    ids.push(...(await uploads(api)));
    await server(api);
    await access(api, options.serverKey);
    const missing = api.missing();
    if (missing.length > 0) throw new Error(`no good request was sent to ${missing.join(', ')}`);
    return ids;
  } finally {
    runner.close();
  }
}

/** A job by the runners' own protocol: some of it is settled, its shard given back, and taken again. */
async function leases(api: ApiCaller, runner: HandRunner): Promise<string[]> {
  const items = ['a', 'b', 'c'].map((name) => ({ custom_id: name, body: chat }));
  const job = await api.json<Named>('createJob', { body: { endpoint: ENDPOINT, items } });
  const lease = await runner.next(10_000);
  if (lease === null) throw new Error('nothing was offered');
  await runner.renew([lease]);
  await runner.settle(lease, 1);
  await runner.release(lease);
  const again = await runner.next(10_000);
  if (again === null) throw new Error('what was given back was not offered again');
  await runner.settle(again);
  await ended(api, 'getJob', job.id);
  const events = await api.text('followJob', { id: job.id });
  if (!events.includes('data:')) throw new Error('followJob told nothing');
  const results = await api.text('getJobResults', { id: job.id, query: { order: 'completion' } });
  if (results.trim().split('\n').length !== items.length) throw new Error('getJobResults lacks lines');
  await api.call('getJobErrors', { id: job.id });
  return [job.id, lease.shard_id];
}

/** Jobs before anybody serves them: held back, followed, cancelled, retried. */
async function waitingJobs(api: ApiCaller): Promise<string[]> {
  const job = await api.json<Named>('createJob', {
    query: { endpoint: ENDPOINT, metadata: '{"a":"b"}', priority: 'low', completion_window: '1h' },
    body: `${JSON.stringify(line('a'))}\n${JSON.stringify(line('b'))}\n`,
  });
  await api.call('pauseJob', { id: job.id });
  await api.call('resumeJob', { id: job.id });
  await api.call('listJobs', { query: { status: 'queued', model: MODEL, limit: '5', 'metadata[a]': 'b' } });
  const watching = new AbortController();
  const events = await api.call('followJob', { id: job.id, signal: watching.signal });
  await events.body?.getReader().read();
  watching.abort();
  await api.call('cancelJob', { id: job.id });
  await ended(api, 'getJob', job.id);
  await api.call('retryJob', { id: job.id, body: { status: ['cancelled'] } });
  await api.call('cancelJob', { id: job.id });
  const body = { model: MODEL, input: 'hello', background: true };
  const response = await api.json<Named>('createResponse', { body });
  await api.call('getResponse', { id: response.id });
  await api.call('cancelResponse', { id: response.id });
  await ended(api, 'getResponse', response.id);
  await api.call('deleteResponse', { id: response.id });
  return [job.id];
}

async function files(api: ApiCaller): Promise<string[]> {
  const file = await api.json<Named>('createFile', { body: formOf({ purpose: 'batch' }) });
  const create = { input_file_id: file.id, endpoint: ENDPOINT, completion_window: '24h' };
  const batch = await api.json<Named>('createBatch', { body: create });
  await api.call('listBatches', { query: { limit: '1' } });
  const { output_file_id: output } = await ended<{ output_file_id: string }>(api, 'getBatch', batch.id);
  const lines = await api.text('getFileContent', { id: output });
  if (!lines.includes('batch_req_')) throw new Error('the output file lacks its line');
  const stopped = await api.json<Named>('createBatch', { body: { ...create, metadata: { a: 'b' } } });
  await api.call('cancelBatch', { id: stopped.id }).catch((error: unknown) => {
    // It may have run already.
    if (!String(error).includes('409')) throw error;
  });
  await ended(api, 'getBatch', stopped.id);
  await api.call('getFile', { id: file.id });
  await api.call('listFiles', { query: { purpose: 'batch', order: 'asc' } });
  await api.call('deleteFile', { id: output });
  return [file.id, batch.id];
}

async function messageBatches(api: ApiCaller): Promise<string[]> {
  const body = { requests: [{ custom_id: 'a', params: chat }] };
  const [kept, deleted] = [
    await api.json<Named>('createMessageBatch', { body }),
    await api.json<Named>('createMessageBatch', { body }),
  ];
  await api.call('cancelMessageBatch', { id: deleted.id });
  for (const { id } of [kept, deleted]) await ended(api, 'getMessageBatch', id);
  await api.call('listMessageBatches', { query: { limit: '2' } });
  if (!(await api.text('getMessageBatchResults', { id: kept.id })).includes('succeeded'))
    throw new Error('the message batch has no result');
  await api.call('deleteMessageBatch', { id: deleted.id });
  return [kept.id];
}

async function webhooks(api: ApiCaller, hook: string): Promise<string[]> {
  await api.call('listWebhookEventTypes');
  await api.call('getWebhookSecret');
  const body = { url: hook, name: 'a', event_types: ['batch.completed'] };
  const [kept, deleted] = [
    await api.json<Named>('createWebhookEndpoint', { body }),
    await api.json<Named>('createWebhookEndpoint', { body }),
  ];
  await api.call('listWebhookEndpoints', { query: { limit: '1' } });
  await api.call('getWebhookEndpoint', { id: kept.id });
  await api.call('updateWebhookEndpoint', { id: kept.id, body: { name: 'b' } });
  await api.call('rotateWebhookSecret', { id: kept.id, body: { keep_old_secret_active_for_24_hours: true } });
  await api.call('testWebhookEndpoint', { id: kept.id, body: { event_type: 'batch.failed' } });
  await api.call('deleteWebhookEndpoint', { id: deleted.id });
  const job = await api.json<Named>('createJob', {
    body: { endpoint: ENDPOINT, items: [{ body: chat }, { body: chat }] },
  });
  await ended(api, 'getJob', job.id);
  const { data } = await api.json<{ data: Named[] }>('listWebhookDeliveries', { query: { job_id: job.id } });
  const [delivery] = data;
  if (delivery === undefined) throw new Error('the end of a job was not told');
  await api.call('redeliverWebhook', { id: delivery.id });
  return [kept.id, delivery.id];
}

/** Plain requests, which wait for their answer. */
async function synchronous(api: ApiCaller): Promise<void> {
  await api.call('createChatCompletion', { body: chat });
  await api.text('createChatCompletion', { body: { ...chat, stream: true } });
  await api.call('createCompletion', { body: { model: MODEL, prompt: 'hello' } });
  await api.call('createEmbedding', { body: { model: MODEL, input: 'hello' } });
  await api.call('createResponse', { body: { model: MODEL, input: 'hello' } });
  await api.call('createMessage', { body: chat });
}

async function uploads(api: ApiCaller): Promise<string[]> {
  const bytes = JSON.stringify(line('a'));
  const body = {
    purpose: 'batch',
    filename: 'in.jsonl',
    bytes: bytes.length,
    mime_type: 'application/jsonl',
  };
  const upload = await api.json<Named>('createUpload', { body });
  const form = new FormData();
  form.set('data', new Blob([bytes]), 'part');
  const part = await api.json<Named>('addUploadPart', { id: upload.id, body: form });
  await api.call('completeUpload', { id: upload.id, body: { part_ids: [part.id] } });
  const cancelled = await api.json<Named>('createUpload', { body });
  await api.call('cancelUpload', { id: cancelled.id });
  return [upload.id];
}

async function server(api: ApiCaller): Promise<void> {
  for (const name of ['listModels', 'listRunners', 'getLimits', 'getOpenapi', 'getHealth', 'getReadiness'])
    await api.call(name);
  await api.call('getMetrics');
  await api.call('getModel', { id: MODEL });
}

async function access(api: ApiCaller, key: string): Promise<void> {
  await api.call('whoami');
  await api.call('createProject', { key, body: { id: 'valid', weight: 2 } });
  await api.call('updateProject', { key, id: 'valid', body: { max_running_items: 10 } });
  await api.call('listProjects', { key });
  await api.call('setProjectLimits', { key, id: 'valid', body: { requests_per_minute: 1_000 } });
  await api.call('getProjectLimits', { key, id: 'valid' });
  const made = await api.json<Named>('createApiKey', {
    key,
    body: { project_id: 'valid', scopes: ['read'] },
  });
  await api.call('listApiKeys', { key });
  const rotated = await api.json<Named>('rotateApiKey', { key, id: made.id, body: {} });
  await api.call('revokeApiKey', { key, id: rotated.id });
}

const ENDS: ReadonlySet<unknown> = new Set([
  ...['succeeded', 'completed', 'failed', 'cancelled', 'expired', 'incomplete'],
  'ended',
]);

/** Asks until it has ended, in the words of any dialect. */
async function ended<Answer = unknown>(api: ApiCaller, name: string, id: string): Promise<Answer> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await api.json<{ status?: unknown; processing_status?: unknown }>(name, { id });
    if (ENDS.has(answer.processing_status ?? answer.status)) return answer as Answer;
    if (Date.now() > deadline) throw new Error(`${name} ${id} did not end: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function formOf(fields: Readonly<Record<string, string>>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set('file', new Blob([JSON.stringify(line('a'))]), 'in.jsonl');
  return form;
}
