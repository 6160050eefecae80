import type { FaultProxy } from '@batch-infer/testkit';
import OpenAI, { toFile } from 'openai';
import OpenAI6 from 'openai-6';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeItems, ProofStack, toBatchFile } from './harness.js';
import { CUT_RUN, CUTS, Lanes, LOST, loseAnswer } from './lost-answers.js';

/** R4 for OpenAI's batches, files and uploads. */
const stack = new ProofStack();
const lanes = new Lanes();

beforeAll(async () => {
  await stack.serve();
  await lanes.open(stack.url);
});

afterAll(async () => {
  await lanes.close();
  await stack.close();
});

const sdks = [
  ['openai 7.x', OpenAI],
  ['openai 6.49', OpenAI6],
] as const;

describe.each(sdks)('%s, unmodified, through a proxy that loses answers', (name, Sdk) => {
  const label = name.replace(' ', '-');
  const sdkAt = (proxy: FaultProxy) => new Sdk({ baseURL: `${proxy.url}/v1`, apiKey: 'unused' });
  const filesNamed = async (start: string) => {
    const names: string[] = [];
    for await (const file of sdkAt(lanes.first).files.list({ limit: 100 })) names.push(file.filename);
    return names.filter((file) => file.startsWith(start));
  };

  test(
    `batches.create: the answer is lost after the commit, one job in ${CUTS} of ${CUTS}`,
    CUT_RUN,
    async () => {
      let jobs = 0;
      const lost = await lanes.each(async (cut) => {
        const openai = sdkAt(cut.proxy);
        const mark = `${name} ${cut.index}`;
        const content = toBatchFile(makeItems(`${name}-batch-${cut.index}`, 2));
        const file = await openai.files.create({
          file: await toFile(Buffer.from(content), 'in.jsonl'),
          purpose: 'batch',
        });
        loseAnswer(cut, '/v1/batches');
        const batch = await openai.batches.create({
          input_file_id: file.id,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
          metadata: { cut: mark },
        });
        expect(batch).toMatchObject({ input_file_id: file.id, object: 'batch' });
        const found = await jobsWith('cut', mark);
        expect(found).toEqual([batch.id.replace('batch_', 'job_')]);
        jobs += found.length;
      });
      console.log(`${name}: ${lost} answers to batches.create lost, ${jobs} jobs of ${CUTS} creates`);
      expect(lost).toBe(LOST);
      expect(jobs).toBe(CUTS);
    },
  );

  test(`files.create from a Buffer: one file in ${CUTS} of ${CUTS}`, CUT_RUN, async () => {
    const lost = await lanes.each(async (cut) => {
      const openai = sdkAt(cut.proxy);
      const content = toBatchFile(makeItems(`${name}-file-${cut.index}`, 2));
      loseAnswer(cut, '/v1/files');
      const file = await openai.files.create({
        file: await toFile(Buffer.from(content), `${label}-file-${cut.index}.jsonl`),
        purpose: 'batch',
      });
      expect(await (await openai.files.content(file.id)).text()).toBe(content);
    });
    const ours = await filesNamed(`${label}-file-`);
    console.log(`${name}: ${lost} answers to files.create lost, ${ours.length} files of ${CUTS} creates`);
    expect(lost).toBe(LOST);
    expect(ours).toHaveLength(CUTS);
  });

  test(
    `uploads in parts: every answer is lost once or twice, one file in ${CUTS} of ${CUTS}`,
    CUT_RUN,
    async () => {
      const named = `${label}-parts-`;
      const lost = await lanes.each(async (cut) => {
        const openai = sdkAt(cut.proxy);
        const content = toBatchFile(makeItems(`${label}-upload-${cut.index}`, 2));
        const middle = Math.floor(content.length / 2);
        loseAnswer(cut, '/v1/uploads');
        const { id } = await openai.uploads.create({
          bytes: Buffer.byteLength(content),
          filename: `${named}${cut.index}.jsonl`,
          mime_type: 'application/jsonl',
          purpose: 'batch',
        });
        const partIds: string[] = [];
        for (const half of [content.slice(0, middle), content.slice(middle)]) {
          loseAnswer(cut, `/v1/uploads/${id}/parts`);
          partIds.push((await openai.uploads.parts.create(id, { data: new File([half], 'part') })).id);
        }
        loseAnswer(cut, `/v1/uploads/${id}/complete`);
        const { file } = await openai.uploads.complete(id, { part_ids: partIds });
        expect(await (await openai.files.content(file?.id ?? '')).text()).toBe(content);
      });
      const ours = await filesNamed(named);
      console.log(`${name}: ${lost} answers to uploads lost, ${ours.length} files of ${CUTS} uploads`);
      expect(lost).toBe(4 * LOST);
      expect(ours).toHaveLength(CUTS);
    },
  );

  test('the same create without a lost answer is a job of its own', async () => {
    const openai = sdkAt(lanes.first);
    const content = toBatchFile(makeItems(`${name}-twice`, 1));
    const file = await openai.files.create({
      file: await toFile(Buffer.from(content), 'in.jsonl'),
      purpose: 'batch',
    });
    const body = {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    } as const;
    const first = await openai.batches.create(body);
    const second = await openai.batches.create(body);
    expect(second.id).not.toBe(first.id);
  });
});

async function jobsWith(key: string, value: string): Promise<string[]> {
  const query = new URLSearchParams({ [`metadata[${key}]`]: value });
  const { data } = await stack.client.get<{ data: { id: string }[] }>(`/v1/jobs?${query}`);
  return data.map((job) => job.id);
}
