import { join } from 'node:path';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { endWindow, HELD, jobMidway, POISON, runPython } from './python-programs.js';

/** For Anthropic curator looks up in a table how many tokens a model of that name may answer with. */
const CLAUDE = 'claude-haiku-4-5';
const FAULTS = [POISON, HELD];
const stack = new ProofStack();
let engine: EngineSim;
let bin: string;

beforeAll(async () => {
  bin = await pythonClients('requirements-curator.txt');
  engine = await stack.engine({ models: [MODEL, CLAUDE], serviceTimeMs: 5, faults: FAULTS });
  await stack.serve();
  await stack.runner(engine, ['--model', CLAUDE]);
}, 700_000);

afterEach(() => engine.setFaults(FAULTS));
afterAll(() => stack.close());

const prompts = (word: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${word}-${index} says so`);
const cancel = async (id: string) =>
  expect((await stack.client.post(`/v1/jobs/${id}/cancel`, {})).ok).toBe(true);
const answersTo = (asked: readonly string[]) => asked.map((prompt) => expect.stringContaining(prompt));

describe.each([
  ['openai', MODEL, () => `${stack.url}/v1`],
  ['anthropic', CLAUDE, () => stack.url],
] as const)("curator's batch mode over %s, unmodified", (backend, model, baseUrl) => {
  let runs = 0;
  const curate = (asked: readonly string[]) => {
    runs += 1;
    const folder = join(stack.folder, `curator-${backend}-${runs}`);
    const words = [backend, baseUrl(), model, folder, ...asked];
    const environment = {
      OPENAI_API_KEY: 'none',
      ANTHROPIC_API_KEY: 'none',
      TELEMETRY_ENABLED: 'false',
      CURATOR_DISABLE_RICH_DISPLAY: '1',
    };
    return runPython({ bin, program: 'curator_batch.py', words, environment });
  };

  it('has the answer to every prompt', async () => {
    const asked = prompts('curated', 20);
    expect(await curate(asked)).toEqual({ answers: answersTo(asked), failed: [] });
  });

  it('keeps the answers and names the prompts that failed, after another try', async () => {
    const [asked, refused] = [prompts('curated', 6), prompts('poison', 2)];
    expect(await curate([...asked, ...refused])).toEqual({ answers: answersTo(asked), failed: refused });
  });

  it('ends when every prompt failed', async () => {
    expect(await curate(prompts('poison', 3))).toMatchObject({
      error: expect.stringContaining('All requests failed'),
    });
  });

  /** It asks again for what Anthropic says has expired; OpenAI counts that as neither completed nor failed. */
  it.each([
    ['its window ends', (id: string) => endWindow(stack, id), backend === 'anthropic'],
    ...(backend === 'openai' ? [['it is cancelled', cancel, false] as const] : []),
  ] as const)('ends with the finished answers when %s midway', async (_, stop, asksAgain) => {
    const [finished, left] = [prompts('curated', 3), prompts('held', 3)];
    const curated = curate([...finished, ...left]);
    const id = await jobMidway(stack, 3);
    engine.setFaults([POISON]);
    await stop(id);
    expect(await curated).toEqual(
      asksAgain
        ? { answers: answersTo([...finished, ...left]), failed: [] }
        : { answers: answersTo(finished), failed: left },
    );
  });
});
