import { WEBHOOK_EVENT_TYPES, webhookEventType } from '@batch-infer/contracts/webhooks';
import type { BatchInfer, WebhookDelivery, WebhookEndpoint } from '@batch-infer/sdk';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS, TALK_OPTIONS } from '../settings/options.js';
import type { Settings } from '../settings/settings.js';
import { formatTable } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { Talk } from '../terminal/talk.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'webhooks',
  operands: [
    {
      name: '<action>',
      description: 'create, list, update, delete, rotate, test, secret, deliveries, redeliver',
    },
    { name: '[what]', description: 'the URL to create, the endpoint, or the delivery to send again' },
  ],
  description: 'Webhooks: who is told of the ends of jobs, and what became of telling them.',
  options: [
    { flag: 'name', value: 'NAME', description: 'what the endpoint is for' },
    { flag: 'url', value: 'URL', description: 'another address for the endpoint (update)' },
    {
      flag: 'events',
      value: 'TYPES',
      repeatable: true,
      description: `some of ${WEBHOOK_EVENT_TYPES.join(',')} (default: all)`,
    },
    { flag: 'keep-old', description: 'the old secret signs beside the new one for a day (rotate)' },
    { flag: 'endpoint-id', value: 'ID', description: 'only deliveries to this endpoint' },
    { flag: 'job', value: 'ID', description: 'only deliveries about this job' },
    { flag: 'status', value: 'STATUS', description: 'only pending, delivered or failed deliveries' },
    { flag: 'limit', value: 'N', description: 'deliveries shown at most, up to 100', default: '20' },
    ...TALK_OPTIONS,
    ...CLIENT_OPTIONS,
  ],
  examples: [
    'batch-infer webhooks create https://example.com/hook --events batch.completed,batch.failed',
    'batch-infer webhooks deliveries --status failed',
    'batch-infer webhooks redeliver whd_…',
  ],
  run,
};

interface Action {
  readonly client: BatchInfer;
  /** The URL or id it is about; empty for actions without one. */
  readonly what: string;
  readonly settings: Settings;
  readonly talk: Talk;
  readonly signal: AbortSignal;
}

/** With what each action needs to be told. */
const ACTIONS: Readonly<Record<string, { needs: string | null; run: (action: Action) => Promise<number> }>> =
  {
    create: { needs: 'a URL', run: create },
    list: { needs: null, run: list },
    update: { needs: 'an endpoint', run: update },
    delete: { needs: 'an endpoint', run: remove },
    rotate: { needs: 'an endpoint', run: rotate },
    test: { needs: 'an endpoint', run: test },
    secret: { needs: null, run: secret },
    deliveries: { needs: null, run: deliveries },
    redeliver: { needs: 'a delivery', run: redeliver },
  };

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const [name = '', what = ''] = operands;
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action === undefined)
    throw usageError(`webhooks takes ${Object.keys(ACTIONS).join(', ')}, not "${name}"`);
  if (action.needs !== null && what === '') throw usageError(`webhooks ${name} needs ${action.needs}`);
  const talk = new Talk(io, settings);
  const client = await connect(settings);
  return await action.run({ client, what, settings, talk, signal: interrupts.signal });
}

async function create({ client, what, settings, talk, signal }: Action): Promise<number> {
  const made = await client.webhooks.create(what, { ...paramsOf(settings), signal });
  talk.say(`${made.id} hears of ${made.eventTypes.join(', ')}`);
  return await showSecret(made, made.secret, talk);
}

async function list({ client, talk, signal }: Action): Promise<number> {
  const endpoints = await client.webhooks.list({ signal });
  return await show(talk, endpoints, ['ENDPOINT', 'NAME', 'EVENTS', 'STATE', 'URL'], toRow);
}

async function update({ client, what, settings, talk, signal }: Action): Promise<number> {
  const url = settings.text('url');
  const change = { ...paramsOf(settings), ...(url === undefined ? {} : { url }) };
  const endpoint = await client.webhooks.update(what, { ...change, signal });
  return await show(talk, [endpoint], ['ENDPOINT', 'NAME', 'EVENTS', 'STATE', 'URL'], toRow);
}

async function remove({ client, what, talk, signal }: Action): Promise<number> {
  await client.webhooks.delete(what, { signal });
  talk.say(`${what} is deleted`);
  return EXIT.ok;
}

async function rotate({ client, what, settings, talk, signal }: Action): Promise<number> {
  const keepOld = settings.switch('keep-old');
  const rotated = await client.webhooks.rotateSecret(what, { keepOld, signal });
  talk.say(`${what} has a new secret${keepOld ? '; the old one signs beside it for a day' : ''}`);
  return await showSecret(rotated, rotated.secret, talk);
}

async function test({ client, what, talk, signal }: Action): Promise<number> {
  const result = await client.webhooks.test(what, { signal });
  if (talk.json) await talk.io.writeOut(jsonLine(toWireJson(result)));
  else if (result.success) talk.say(`the receiver answered ${result.statusCode}`);
  else talk.warn(result.error ?? `The receiver answered ${result.statusCode}.`);
  return result.success ? EXIT.ok : EXIT.unexpected;
}

async function secret({ client, talk, signal }: Action): Promise<number> {
  const text = await client.webhooks.secret({ signal });
  await talk.io.writeOut(talk.json ? jsonLine({ secret: text }) : `${text}\n`);
  return EXIT.ok;
}

async function deliveries({ client, settings, talk, signal }: Action): Promise<number> {
  const endpointId = settings.text('endpoint-id');
  const jobId = settings.text('job');
  const status = settings.choice('status', ['pending', 'delivered', 'failed']);
  const page = await client.webhooks.deliveries({
    limit: settings.number('limit', { min: 1, max: 100 }) ?? 20,
    signal,
    ...(endpointId === undefined ? {} : { endpointId }),
    ...(jobId === undefined ? {} : { jobId }),
    ...(status === undefined ? {} : { status }),
  });
  return await showDeliveries(page.data, talk);
}

async function redeliver({ client, what, talk, signal }: Action): Promise<number> {
  return await showDeliveries([await client.webhooks.redeliver(what, { signal })], talk);
}

function paramsOf(settings: Settings) {
  const name = settings.text('name');
  const events = settings.list('events').map((text) => {
    const type = webhookEventType.safeParse(text);
    if (type.success) return type.data;
    throw usageError(`--events takes ${WEBHOOK_EVENT_TYPES.join(', ')}, not "${text}"`);
  });
  return {
    ...(name === undefined ? {} : { name }),
    ...(events.length === 0 ? {} : { eventTypes: events }),
  };
}

async function showSecret(made: object, text: string, talk: Talk): Promise<number> {
  talk.say('the secret is shown only now:');
  await talk.io.writeOut(talk.json ? jsonLine(toWireJson(made)) : `${text}\n`);
  return EXIT.ok;
}

async function show<Row extends { readonly id: string }>(
  { json, quiet, io }: Talk,
  rows: readonly Row[],
  head: readonly string[],
  toCells: (row: Row) => string[],
): Promise<number> {
  if (json) for (const row of rows) await io.writeOut(jsonLine(toWireJson(row)));
  else if (quiet) for (const { id } of rows) await io.writeOut(`${id}\n`);
  else await io.writeOut(formatTable([[...head], ...rows.map(toCells)]));
  return EXIT.ok;
}

const showDeliveries = (rows: readonly WebhookDelivery[], talk: Talk): Promise<number> =>
  show(talk, rows, ['DELIVERY', 'EVENT', 'JOB', 'STATUS', 'ATTEMPTS', 'LAST', 'URL'], (row) => [
    row.id,
    row.eventType,
    row.jobId,
    row.status,
    String(row.attempts),
    row.lastError ?? (row.lastStatusCode === null ? '' : String(row.lastStatusCode)),
    row.url,
  ]);

const toRow = ({ id, name, eventTypes, disabledAt, url }: WebhookEndpoint): string[] => [
  id,
  name,
  eventTypes.join(','),
  disabledAt === null ? 'enabled' : `disabled ${disabledAt.toISOString()}`,
  url,
];
