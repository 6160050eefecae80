import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchInfer } from '@batch-infer/sdk';
import { type EngineSim, startEngineSim } from '@batch-infer/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CliProcess, runCommand, waitUntil } from '../test-support/cli-process.js';
import { writeInput } from '../test-support/input.js';

let engine: EngineSim;
let stack: CliProcess;
let receiver: Server;
let folder = '';
let hook = '';
let environment: Record<string, string> = {};
const calls: { headers: Record<string, string>; body: string }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
  receiver = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    calls.push({ headers: request.headers as Record<string, string>, body });
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const address = receiver.address();
  hook = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/hook`;
  engine = await startEngineSim({ serviceTimeMs: 5, slots: 8 });
  stack = new CliProcess(['up', '--engine-url', engine.url, '--port', '0', '--data', 'data'], {
    cwd: folder,
    shared: true,
    environment: { BATCH_INFER_WEBHOOK_ALLOW_HOSTS: '127.0.0.1' },
  });
  const [, url = ''] = await stack.until(/^batch-infer up ready (http:\/\/127\.0\.0\.1:\d+)$/m);
  environment = { BATCH_INFER_BASE_URL: url };
});

afterAll(async () => {
  await stack.stop();
  await engine.close();
  receiver.close();
  await rm(folder, { recursive: true });
});

const run = (...parameters: string[]) => runCommand(parameters, { cwd: folder, environment });
const linesOf = (text: string) => text.trim().split('\n');

it('a job tells the address that it was given of its end, signed with the secret of the project', async () => {
  await writeInput(folder, 2, { marker: 'with a webhook' });
  const id = (await run('submit', 'in.jsonl', '-q', '--webhook', hook)).stdout.trim();
  await waitUntil(() => calls.length > 0);
  const secret = (await run('webhooks', 'secret')).stdout.trim();
  const [call] = calls.splice(0);
  const client = new BatchInfer({ baseUrl: environment.BATCH_INFER_BASE_URL ?? '' });
  const event = await client.webhooks.unwrap(call?.body ?? '', call?.headers ?? {}, secret);
  expect(event).toMatchObject({ type: 'batch.completed', jobId: id, status: 'succeeded' });

  await waitUntil(async () =>
    (await run('webhooks', 'deliveries', '--job', id)).stdout.includes('delivered'),
  );
  const [delivery = ''] = linesOf((await run('webhooks', 'deliveries', '--job', id, '-q')).stdout);
  expect((await run('webhooks', 'redeliver', delivery)).exitCode).toBe(0);
  await waitUntil(() => calls.length > 0);
  expect(JSON.parse(calls.splice(0)[0]?.body ?? '').id).toBe(event.id);
});

it('endpoints are made, tried, changed, given new secrets and deleted', async () => {
  const made = await run('webhooks', 'create', hook, '--name', 'mine', '--events', 'batch.failed');
  expect([made.exitCode, made.stdout]).toEqual([0, expect.stringMatching(/^whsec_\S+\n$/)]);
  const [id = ''] = linesOf((await run('webhooks', 'list', '-q')).stdout);
  expect((await run('webhooks', 'list')).stdout).toMatch(/mine +batch\.failed +enabled +http/);
  expect((await run('webhooks', 'test', id)).stderr).toBe('the receiver answered 204\n');
  await run('webhooks', 'update', id, '--name', 'renamed');
  expect(JSON.parse((await run('webhooks', 'list', '--json')).stdout)).toMatchObject({ name: 'renamed' });
  expect((await run('webhooks', 'rotate', id, '--keep-old')).stdout).not.toBe(made.stdout);
  await run('webhooks', 'update', id, '--url', 'http://127.0.0.1:1/nobody');
  expect(await run('webhooks', 'test', id)).toMatchObject({ exitCode: 1 });
  expect((await run('webhooks', 'delete', id)).exitCode).toBe(0);
  expect((await run('webhooks', 'list', '-q')).stdout).toBe('');
});

it('says what it needs', async () => {
  expect(await run('webhooks', 'nonsense')).toMatchObject({ exitCode: 2 });
  expect(await run('webhooks', 'create')).toMatchObject({ exitCode: 2 });
  expect(await run('webhooks', 'create', hook, '--events', 'job.done')).toMatchObject({ exitCode: 2 });
  const { exitCode, stderr } = await run('webhooks', 'create', 'http://169.254.169.254/latest');
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining('not public')]);
});
