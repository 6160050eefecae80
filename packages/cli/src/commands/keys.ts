import {
  API_KEY_SCOPES,
  type ApiKeyView,
  type CreateApiKeyRequest,
  type CreatedApiKey,
  createApiKeyRequest,
} from '@batch-infer/contracts/access';
import type { NewFileKey } from '@batch-infer/control-plane';
import { type Keys, newRow, openKeys } from '../access/keys.js';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import type { Settings } from '../settings/settings.js';
import { formatTable } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { Talk } from '../terminal/talk.js';

const ACTIONS = ['create', 'list', 'revoke', 'rotate', 'hash'] as const;

export const command: CommandDefinition = {
  name: 'keys',
  operands: [
    { name: '<action>', description: ACTIONS.join(', ') },
    { name: '[id]', description: 'the key to revoke or rotate' },
  ],
  description:
    'Make, list, revoke and rotate API keys: through the server with the key of an administrator, or without a server in its data (--data, --database-url), which is how the first key is made. `hash` makes a random key for the file of batch-infer serve --api-keys-file: its row on stdout, the key on stderr.',
  options: [
    { flag: 'name', value: 'NAME', description: 'what the key is for' },
    {
      flag: 'project',
      value: 'ID',
      description: 'its project; "*" with the scopes runner and admin only (default: your own)',
    },
    {
      flag: 'scopes',
      value: 'SCOPES',
      description: `some of ${API_KEY_SCOPES.join(',')} (default: read,write)`,
    },
    { flag: 'expires-in', value: 'TIME', description: 'such as 90d (default: until it is revoked)' },
    { flag: 'overlap', value: 'TIME', description: 'how long a rotated key goes on (default: 24h)' },
    { flag: 'data', value: 'DIR', description: 'the data folder of a server that does not run' },
    { flag: 'database-url', value: 'URL', description: 'the database of a server', secret: true },
    { flag: 'json', description: 'one key a line, as the API gives it' },
    { flag: 'quiet', short: 'q', description: 'no talk; stdout has the key or the ids only' },
    ...CLIENT_OPTIONS,
  ],
  examples: [
    'batch-infer keys create --data .batch-infer --name first --scopes admin',
    'batch-infer keys create --name ci --project evals --expires-in 90d',
    'batch-infer keys rotate key_… --overlap 1h',
    'batch-infer keys hash --name ci --project evals --scopes read,write >> api-keys.jsonl',
  ],
  run,
};

async function run({ operands, settings, io, interrupts }: CommandContext): Promise<number> {
  const [name, id] = operands;
  const action = ACTIONS.find((each) => each === name);
  if (action === undefined) throw usageError(`keys takes ${ACTIONS.join(', ')}, not "${name}"`);
  const request = action === 'create' || action === 'hash' ? requestOf(settings) : {};
  const needsId = action === 'revoke' || action === 'rotate';
  if (needsId && id === undefined)
    throw usageError(`keys ${action} needs the id of a key`, '`batch-infer keys list` shows them');
  const talk = new Talk(io, settings);
  if (action === 'hash') {
    await showRow(await newRow(request), talk);
    return EXIT.ok;
  }
  const keys = await openKeys(settings, interrupts.signal);
  try {
    if (action === 'create') await create(keys, request, talk);
    else if (action === 'rotate') await show(await keys.rotate(id ?? '', settings.text('overlap')), talk);
    else if (action === 'revoke') await showRevoked(await keys.revoke(id ?? ''), talk);
    else await showList(keys, talk);
  } finally {
    await keys.close();
  }
  return EXIT.ok;
}

function requestOf(settings: Settings) {
  const scopes = settings.list('scopes');
  const parsed = createApiKeyRequest.safeParse({
    name: settings.text('name'),
    project_id: settings.text('project'),
    expires_in: settings.text('expires-in'),
    ...(scopes.length === 0 ? {} : { scopes }),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const flag = { project_id: 'project', expires_in: 'expires-in' }[String(issue?.path[0])] ?? issue?.path[0];
  throw usageError(`--${String(flag)}: ${issue?.message}`);
}

/** The first key changes who may do what, for everybody: that is said. */
async function create(keys: Keys, request: CreateApiKeyRequest, talk: Talk): Promise<void> {
  const isFirst = (await keys.list()).length === 0;
  const made = await keys.create(request);
  await show(made, talk);
  if (!isFirst) return;
  talk.say('this is the first key: from now on every request needs one, those of runners too');
  if (made.scopes.includes('admin')) return;
  talk.warn(
    'it may not make others: make one that may with "batch-infer keys create --scopes admin", here too',
  );
}

/** The row is what a file takes; the key is shown whatever is asked for, since it is stored nowhere. */
async function showRow({ row, key }: NewFileKey, talk: Talk): Promise<void> {
  talk.say('put the row into the file of batch-infer serve --api-keys-file; the key is shown only now:');
  talk.io.writeError(`${key}\n`);
  await talk.io.writeOut(jsonLine(row));
}

async function show(made: CreatedApiKey, talk: Talk): Promise<void> {
  if (talk.json) return await talk.io.writeOut(jsonLine(made));
  const until = made.expires_at === null ? '' : `, until ${made.expires_at}`;
  talk.say(`${made.id} "${made.name}" for project ${made.project_id}: ${made.scopes.join(', ')}${until}`);
  talk.say('the key is shown only now; it is stored nowhere:');
  await talk.io.writeOut(`${made.key}\n`);
}

async function showRevoked(key: ApiKeyView, talk: Talk): Promise<void> {
  if (talk.json) return await talk.io.writeOut(jsonLine(key));
  talk.say(`${key.id} "${key.name}" is revoked; every server refuses it within 5 seconds`);
}

async function showList(keys: Keys, { json, quiet, io }: Talk): Promise<void> {
  const listed = await keys.list();
  if (json) for (const key of listed) await io.writeOut(jsonLine(key));
  else if (quiet) for (const { id } of listed) await io.writeOut(`${id}\n`);
  else {
    const rows = listed.map((key) => [
      key.id,
      key.name,
      key.project_id,
      key.scopes.join(','),
      stateOf(key, Date.now()),
      key.last_used_at ?? 'never',
    ]);
    await io.writeOut(formatTable([['KEY', 'NAME', 'PROJECT', 'SCOPES', 'STATE', 'LAST USED'], ...rows]));
  }
}

function stateOf(key: ApiKeyView, nowMs: number): string {
  if (key.revoked_at !== null) return 'revoked';
  if (key.expires_at === null) return 'active';
  return Date.parse(key.expires_at) <= nowMs ? 'expired' : `active until ${key.expires_at}`;
}
