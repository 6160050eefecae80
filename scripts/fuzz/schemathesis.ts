/**
 * `npm run test:fuzz`: every route of a running control plane. First a good request to each, about things that are there;
 * then requests made from the OpenAPI document (which is held to the specification first), good and bad ones; no answer
 * may be a 5xx. Not in `npm test`: it installs schemathesis. `-- --examples 20` requests for each route; `--seed N`
 * repeats a run; `--valid-only` leaves schemathesis out.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ApiCaller } from './api-caller.ts';
import { startCuttingProxy } from './cutting-proxy.ts';
import { sendValidRequests } from './valid-requests.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const requirements = join(root, 'scripts/fuzz/requirements.txt');
const folder = join(root, '.local/schemathesis');
const programs = join(folder, 'bin');

/** Of a project and of the whole server; in a file, where no request can revoke them. Loopback only. */
const KEYS = { default: 'fuzz-project', '*': 'fuzz-server' } as const;

const { values: given } = parseArgs({
  options: { examples: { type: 'string' }, seed: { type: 'string' }, 'valid-only': { type: 'boolean' } },
});
const EXAMPLES = given.examples ?? '20';
const SEED = given.seed ?? String(Math.floor(Math.random() * 1_000_000));
/** Longer than any long poll. */
const REQUEST_TIMEOUT_SECONDS = '75';
/** Nobody listens there, and the server may call it: deliveries fail at once. */
const HOOK = 'http://127.0.0.1:1/hook';
/** What a stream says first comes at once. */
const CUT_AFTER_MS = 400;
/** Good requests to these are answered by a stream without an end, or when there is work. */
const WAITING_OPERATIONS = ['openRunnerSession', 'pollOffers', 'followJob'];

async function run(
  program: string,
  words: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<void> {
  const environment = { ...process.env, ...more };
  const child = spawn(program, words, { cwd: folder, stdio: 'inherit', env: environment });
  const [status] = await once(child, 'exit');
  if (status !== 0) throw new Error(`${program} ${words[0] ?? ''} ended with ${status}`);
}

async function install(): Promise<void> {
  const stamp = join(folder, '.installed');
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  mkdirSync(folder, { recursive: true });
  await run('python3', ['-m', 'venv', folder]);
  await run(join(programs, 'python3'), ['-m', 'pip', 'install', '--quiet', '-r', requirements]);
  writeFileSync(stamp, wanted);
}

async function serve(data: string): Promise<{ child: ChildProcess; url: string }> {
  const keysFile = join(data, 'keys.json');
  const entries = Object.entries(KEYS).map(([project, key]) => {
    const hash = createHash('sha256').update(key).digest('hex');
    return { id: key, hash, project, scopes: project === '*' ? ['admin', 'runner'] : [] };
  });
  writeFileSync(keysFile, JSON.stringify(entries));
  const program = join(root, 'packages/cli/bin/batch-infer.js');
  const words = [program, 'serve', '--port', '0', '--data', data, '--api-keys-file', keysFile];
  words.push('--webhook-allow-hosts', new URL(HOOK).host);
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = createInterface({ input: child.stderr });
  return await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the control plane ended with ${code}`)));
    lines.on('line', (line) => {
      const url = /^batch-infer serve ready (\S+)/.exec(line)?.[1];
      if (url !== undefined) resolve({ child, url });
      // What it logs of its own mistakes is what one wants to see here.
      if (/"level":(?:50|60)|"error"/.test(line)) console.error(line);
    });
  });
}

/** Things to ask about: names of a waiting job in every dialect, a file, an upload. */
async function createThings(url: string): Promise<string[]> {
  const line = {
    custom_id: 'a',
    body: { model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'hello' }] },
  };
  const endpoint = '/v1/chat/completions';
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob([JSON.stringify({ ...line, method: 'POST', url: endpoint })]), 'in.jsonl');
  const file = await create(`${url}/v1/files`, form);
  const upload = { purpose: 'batch', filename: 'in.jsonl', bytes: 10, mime_type: 'application/jsonl' };
  const created = await Promise.all([
    create(`${url}/v1/jobs`, { endpoint, items: [line] }),
    create(`${url}/v1/batches`, { input_file_id: file, endpoint, completion_window: '24h' }),
    create(`${url}/v1/messages/batches`, { requests: [{ custom_id: 'a', params: line.body }] }),
    create(`${url}/v1/uploads`, upload),
    create(`${url}/v1/webhook_endpoints`, {
      url: 'https://hooks.example.com/',
      name: 'a',
      event_types: ['batch.completed'],
    }),
  ]);
  return [file, ...created];
}

async function create(url: string, body: object): Promise<string> {
  const isForm = body instanceof FormData;
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${KEYS.default}`,
      ...(isForm ? {} : { 'content-type': 'application/json' }),
    },
    body: isForm ? body : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`);
  return ((await answer.json()) as { id: string }).id;
}

async function fuzz(
  url: string,
  key: string,
  ids: readonly string[],
  words: readonly string[],
): Promise<void> {
  const parameters = [
    'run',
    `${url}/openapi.json`,
    '--checks=not_a_server_error',
    '--phases=examples,coverage,fuzzing',
    `--max-examples=${EXAMPLES}`,
    `--seed=${SEED}`,
    `--request-timeout=${REQUEST_TIMEOUT_SECONDS}`,
    '--header=x-batch-infer-protocol:1',
    `--header=authorization:Bearer ${key}`,
    '--continue-on-failure',
    '--warnings=off',
    '--suppress-health-check=all',
    ...words,
  ];
  await run(join(programs, 'schemathesis'), parameters, {
    SCHEMATHESIS_HOOKS: 'hooks',
    PYTHONPATH: join(root, 'scripts/fuzz'),
    PYTHONDONTWRITEBYTECODE: '1',
    FUZZ_IDS: ids.join(','),
  });
}

const document = join(root, 'docs/openapi.json');
if (!given['valid-only']) {
  await install();
  await run(join(programs, 'openapi-spec-validator'), [document]);
}
const data = mkdtempSync(join(tmpdir(), 'batch-infer-fuzz-'));
const { child, url } = await serve(data);
try {
  const api = new ApiCaller({ origin: url, key: KEYS.default, document });
  const left = await sendValidRequests(api, { serverKey: KEYS['*'], hook: HOOK });
  console.log(`${api.answers} good requests to ${api.operations} operations were answered well`);
  if (!given['valid-only']) await fuzzAll(url, [...left, ...(await createThings(url))]);
} finally {
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  rmSync(data, { recursive: true, force: true, maxRetries: 5 });
}

async function fuzzAll(url: string, ids: readonly string[]): Promise<void> {
  console.log(`seed ${SEED}`);
  const waiting = (flag: string) => WAITING_OPERATIONS.map((id) => `--${flag}-operation-id=${id}`);
  await fuzz(url, KEYS.default, ids, waiting('exclude'));
  await fuzz(url, KEYS['*'], ids, ['--include-tag=access']);
  const proxy = await startCuttingProxy(url, CUT_AFTER_MS);
  try {
    await fuzz(proxy.url, KEYS.default, ids, waiting('include'));
  } finally {
    proxy.close();
  }
}
