import { createHash } from 'node:crypto';
import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitLines } from '@batch-infer/testkit';
import OpenAI7, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf, type Item, MODEL, makeItems, ProofStack, toBatchFile, until } from '../proofs/harness.js';
import { startWebhookReceiver, type WebhookReceiver } from '../proofs/webhook-receiver.js';
import { npmClients } from './install.js';
import { HELD, POISON } from './python-programs.js';

/** The whole lives of batches, seen through the npm package `openai` of four majors, unmodified. */

type Sdk = typeof OpenAI7;
/** Older majors differ in what is used here by one name only. */
interface OlderFiles {
  del(id: string): Promise<{ id: string; deleted: boolean }>;
}

const stack = new ProofStack();
let receiver: WebhookReceiver;
const installed = new Map<string, Sdk>();

beforeAll(async () => {
  const load = await npmClients();
  for (const name of ['openai-5', 'openai-4'])
    installed.set(name, (await load<{ default: Sdk }>(name)).default);
  receiver = await startWebhookReceiver();
  await stack.serve({ BATCH_INFER_WEBHOOK_ALLOW_HOSTS: '127.0.0.1' });
  await stack.runner(await stack.engine({ slots: 64, serviceTimeMs: 5, faults: [POISON, HELD] }));
}, 300_000);

afterAll(async () => {
  await stack.close();
  await receiver.close();
});

const ENDED: ReadonlySet<string> = new Set(['completed', 'failed', 'expired', 'cancelled']);
const CHAT = '/v1/chat/completions' as const;
const ids = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word}-${index}`);

interface Line {
  readonly custom_id: string;
  readonly response: { readonly status_code: number; readonly body: { readonly error?: object } } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

const versions = [
  { name: 'openai 7.57', sdk: (): unknown => OpenAI7, webhooks: 'managed' },
  { name: 'openai 6.49', sdk: (): unknown => OpenAI6, webhooks: 'unwrapped' },
  { name: 'openai 5.23', sdk: (): unknown => installed.get('openai-5'), webhooks: 'unwrapped' },
  { name: 'openai 4.104', sdk: (): unknown => installed.get('openai-4'), webhooks: 'unknown' },
] as const;

/** All at once: the windows end while the other lives go on. */
describe.concurrent.each(versions)('$name, unmodified', ({ name, sdk, webhooks }) => {
  const label = name.replaceAll(/[^\w]/g, '-');
  const Client = () => sdk() as Sdk;
  const client = () => new (Client())({ baseURL: `${stack.url}/v1`, apiKey: 'none' });

  const remove = ({ files }: OpenAI7, id: string) =>
    'del' in files ? (files as OlderFiles).del(id) : files.delete(id);
  const upload = async (content: string) =>
    await client().files.create({ file: await toFile(Buffer.from(content), 'in.jsonl'), purpose: 'batch' });
  const create = async (items: readonly Item[], more: { completion_window?: string } = {}) => {
    const { id } = await upload(toBatchFile(items));
    const standard = {
      input_file_id: id,
      endpoint: CHAT,
      completion_window: '24h',
      metadata: { name },
    } as const;
    return await client().batches.create({ ...standard, ...more } as typeof standard);
  };
  const ended = (id: string) =>
    until(`the end of ${id}`, 120_000, async () => {
      const now = await client().batches.retrieve(id);
      return ENDED.has(now.status) ? now : null;
    });
  const midway = (id: string, completed: number) =>
    until(`${completed} answers of ${id}`, 60_000, async () =>
      (await client().batches.retrieve(id)).request_counts?.completed === completed ? true : null,
    );
  const read = async (fileId: string | null | undefined): Promise<Line[]> =>
    fileId
      ? splitLines(await (await client().files.content(fileId)).text()).map((one) => JSON.parse(one))
      : [];
  /** `[custom_id, HTTP status, code]` of each line of an error file. */
  const errorsOf = async (fileId: string | null | undefined) =>
    (await read(fileId)).map(({ custom_id, response, error }) => [
      custom_id,
      response?.status_code ?? null,
      error?.code ?? null,
    ]);
  const halfHeld = () => [...makeItems('good', 3), ...makeItems('held', 3)];

  it('expires at the end of its window, keeps what is finished and names the rest', async () => {
    const { id } = await create(halfHeld(), { completion_window: '1m' });
    const batch = await ended(id);
    expect(batch).toMatchObject({
      status: 'expired',
      completion_window: '1m',
      request_counts: { total: 6, completed: 3, failed: 0 },
    });
    expect((batch.expired_at ?? 0) - batch.created_at).toBeGreaterThanOrEqual(60);
    expect((await read(batch.output_file_id)).map((line) => line.custom_id)).toEqual(ids('good', 3));
    expect(await errorsOf(batch.error_file_id)).toEqual(
      ids('held', 3).map((one) => [one, null, 'batch_expired']),
    );
  });

  it('completes with failed items: answers in the output file, the others in the error file', async () => {
    const items = [...makeItems('good', 30), ...makeItems('poison', 2)];
    const path = join(stack.folder, `${label}.jsonl`);
    writeFileSync(path, toBatchFile(items));
    const file = await client().files.create({ file: createReadStream(path), purpose: 'batch' });
    expect(file).toMatchObject({ object: 'file', filename: `${label}.jsonl`, status: 'processed' });
    const created = await client().batches.create({
      input_file_id: file.id,
      endpoint: CHAT,
      completion_window: '24h',
      metadata: { suite: 'compat' },
    });
    expect(created).toMatchObject({ object: 'batch', output_file_id: null, error_file_id: null });
    const batch = await ended(created.id);
    expect(batch).toMatchObject({
      status: 'completed',
      errors: null,
      metadata: { suite: 'compat' },
      request_counts: { total: 32, completed: 30, failed: 2 },
    });
    const output = await read(batch.output_file_id);
    expect(output.map((line) => line.custom_id)).toEqual(ids('good', 30));
    for (const line of output) expect(answerOf(line)).toContain(`${line.custom_id} says so`);
    expect(await errorsOf(batch.error_file_id)).toEqual(ids('poison', 2).map((one) => [one, 400, null]));
    const [error] = await read(batch.error_file_id);
    expect(error?.response?.body.error).toMatchObject({ message: expect.any(String) });
  });

  it('completes without an output file when every item failed', async () => {
    const batch = await ended((await create(makeItems('poison', 3))).id);
    expect(batch).toMatchObject({
      status: 'completed',
      output_file_id: null,
      request_counts: { total: 3, completed: 0, failed: 3 },
    });
    expect(await errorsOf(batch.error_file_id)).toEqual(ids('poison', 3).map((one) => [one, 400, null]));
  });

  it('is cancelled midway: output and error file together are the whole', async () => {
    const { id } = await create(halfHeld());
    await midway(id, 3);
    expect((await client().batches.cancel(id)).status).toMatch(/^cancell(ing|ed)$/);
    const batch = await ended(id);
    expect(batch).toMatchObject({ status: 'cancelled', cancelled_at: expect.any(Number) });
    expect((await read(batch.output_file_id)).map((line) => line.custom_id)).toEqual(ids('good', 3));
    expect(await errorsOf(batch.error_file_id)).toEqual(
      ids('held', 3).map((one) => [one, null, 'batch_cancelled']),
    );
    const late = client().batches.cancel(id);
    expect((await late).status).toBe('cancelled');
  });

  it('is refused at upload with the line that is bad, as the exception for bad requests', async () => {
    const content = `${toBatchFile(makeItems('fine', 2))}{"custom_id":"c"\n${toBatchFile(makeItems('fine', 1))}`;
    const refusal = await upload(content).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Client().BadRequestError);
    expect(refusal).toMatchObject({
      status: 400,
      code: 'invalid_file',
      type: 'invalid_request_error',
      message: expect.stringMatching(/Line 3 is not valid JSON.*\(\+1 more\)/),
    });
  });

  it('fails with an error for each line that does not fit its endpoint', async () => {
    const misfits = ['b', 'c'].map((custom_id) =>
      JSON.stringify({
        custom_id,
        method: 'POST',
        url: '/v1/completions',
        body: { model: MODEL, prompt: 'x' },
      }),
    );
    const content = [...splitLines(toBatchFile(makeItems('fit', 1))), ...misfits].join('\n');
    const { id } = await client().batches.create({
      input_file_id: (await upload(content)).id,
      endpoint: CHAT,
      completion_window: '24h',
    });
    const batch = await ended(id);
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, failed_at: expect.any(Number) });
    expect(batch.errors?.data?.map(({ line, code }) => [line, code])).toEqual([
      [2, 'mismatched_url'],
      [3, 'mismatched_url'],
    ]);
  });

  it('uploads in parts, in parallel and out of order, and checks what they add up to', async () => {
    const items = makeItems('part', 40);
    const content = Buffer.from(toBatchFile(items));
    const begin = () =>
      client().uploads.create({
        bytes: content.length,
        filename: 'parts.jsonl',
        mime_type: 'application/jsonl',
        purpose: 'batch',
      });
    const { id } = await begin();
    const cuts = [0, 1_000, 2_500, content.length];
    const partIds: string[] = [];
    await Promise.all(
      [2, 0, 1].map(async (part) => {
        const data = new File([content.subarray(cuts[part], cuts[part + 1])], 'part');
        partIds[part] = (await client().uploads.parts.create(id, { data })).id;
      }),
    );
    const wrong = client().uploads.complete(id, { part_ids: partIds, md5: '0'.repeat(32) });
    await expect(wrong).rejects.toBeInstanceOf(Client().BadRequestError);
    const md5 = createHash('md5').update(content).digest('hex');
    const { file, status } = await client().uploads.complete(id, { part_ids: partIds, md5 });
    expect({ status, bytes: file?.bytes }).toEqual({ status: 'completed', bytes: content.length });
    const { id: batchId } = await client().batches.create({
      input_file_id: file?.id ?? '',
      endpoint: CHAT,
      completion_window: '24h',
    });
    expect((await ended(batchId)).request_counts).toEqual({ total: 40, completed: 40, failed: 0 });

    const given = await begin();
    expect((await client().uploads.cancel(given.id)).status).toBe('cancelled');
    const late = client().uploads.parts.create(given.id, { data: new File(['x'], 'part') });
    await expect(late).rejects.toMatchObject({ code: 'upload_not_pending' });
  });

  it('lists batches, files and models by iteration, each once', async () => {
    const made: string[] = [];
    for (const item of makeItems('page', 5)) made.unshift((await create([item])).id);
    const batches: string[] = [];
    for await (const batch of client().batches.list({ limit: 2 })) batches.push(batch.id);
    expect(new Set(batches).size).toBe(batches.length);
    expect(batches.filter((id) => made.includes(id))).toEqual(made);
    const files: string[] = [];
    for await (const file of client().files.list({ limit: 3, purpose: 'batch' })) files.push(file.id);
    expect(new Set(files).size).toBe(files.length);
    expect(files.length).toBeGreaterThanOrEqual(5);
    const models: string[] = [];
    for await (const model of client().models.list()) models.push(model.id);
    expect(models).toEqual([MODEL]);
  });

  it('deletes files once no batch needs them, and says what is not there', async () => {
    const { id, input_file_id: inputId } = await create(halfHeld());
    await midway(id, 3);
    await expect(remove(client(), inputId)).rejects.toBeInstanceOf(Client().ConflictError);
    await client().batches.cancel(id);
    const { output_file_id: outputId, error_file_id: errorId } = await ended(id);
    for (const fileId of [inputId, outputId ?? '', errorId ?? '']) {
      expect(await remove(client(), fileId)).toMatchObject({ id: fileId, deleted: true });
      await expect(client().files.retrieve(fileId)).rejects.toBeInstanceOf(Client().NotFoundError);
    }
    expect((await client().batches.retrieve(id)).status).toBe('cancelled');
    await expect(client().batches.retrieve('batch_unknown')).rejects.toBeInstanceOf(Client().NotFoundError);
  });

  it('gets plain answers, whole and streamed', async () => {
    const messages = [{ role: 'user' as const, content: `${label} asks` }];
    const whole = await client().chat.completions.create({ model: MODEL, messages });
    expect(whole.choices[0]?.message.content).toContain(`${label} asks`);
    let streamed = '';
    const stream = await client().chat.completions.create({ model: MODEL, messages, stream: true });
    for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? '';
    expect(streamed).toBe(whole.choices[0]?.message.content);
  });

  it.runIf(webhooks !== 'unknown')('is told of the end by a webhook that it can verify', async () => {
    const url = `${receiver.url}/${label}`;
    const body = { name, url, event_types: ['batch.completed' as const] };
    const endpoint =
      webhooks === 'managed'
        ? await client().webhooks.create(body)
        : await client().post<{ signing_secret: string }>('/webhook_endpoints', {
            body,
          });
    const { id } = await create(makeItems('told', 1));
    const call = await until(`the call about ${id}`, 30_000, () => {
      const calls = receiver.calls.filter(({ path }) => path === `/${label}`);
      return calls.find(({ event }) => event.data.id === id) ?? null;
    });
    const sdkClient = client();
    const event = await sdkClient.webhooks.unwrap(call.body, call.headers, endpoint.signing_secret);
    expect(event).toMatchObject({ type: 'batch.completed', data: { id } });
    const forged = sdkClient.webhooks.unwrap(`${call.body} `, call.headers, endpoint.signing_secret);
    await expect(forged).rejects.toBeInstanceOf(Client().InvalidWebhookSignatureError);
  });

  it.runIf(webhooks === 'managed')('manages webhook endpoints', async () => {
    const { webhooks: endpoints } = client();
    const event_types = ['batch.failed' as const];
    const { id, signing_secret: first } = await endpoints.create({ name, url: receiver.url, event_types });
    expect((await endpoints.retrieve(id)).name).toBe(name);
    expect((await endpoints.update(id, { name: 'renamed' })).name).toBe('renamed');
    const listed: string[] = [];
    for await (const one of endpoints.list({ limit: 1 })) listed.push(one.id);
    expect(listed).toContain(id);
    expect((await endpoints.rotateSecret(id)).signing_secret).not.toBe(first);
    await endpoints.test(id, { event_type: 'batch.failed' });
    expect(receiver.calls.some(({ path, event }) => path === '/' && event.type === 'batch.failed')).toBe(
      true,
    );
    expect(await endpoints.delete(id)).toMatchObject({ id, deleted: true });
    await expect(endpoints.retrieve(id)).rejects.toBeInstanceOf(Client().NotFoundError);
  });
});
