import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineSim } from '@batch-infer/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MODEL, ProofStack } from '../proofs/harness.js';
import { pythonClients } from './install.js';
import { endWindow, HELD, jobMidway, POISON, runTool } from './python-programs.js';

const FAULTS = [POISON, HELD];
const stack = new ProofStack();
let engine: EngineSim;
let bin: string;

beforeAll(async () => {
  bin = await pythonClients('requirements-inspect.txt');
  engine = await stack.engine({ slots: 16, serviceTimeMs: 5, faults: FAULTS });
  await stack.serve();
  await stack.runner(engine);
}, 700_000);

afterEach(() => engine.setFaults(FAULTS));
afterAll(() => stack.close());

/** What of Inspect's log is looked at here. */
interface EvalLog {
  readonly status: string;
  readonly results?: { readonly scores: readonly { readonly metrics: { accuracy: { value: number } } }[] };
  readonly samples: readonly { readonly id: string; readonly error?: { readonly message: string } }[];
}

const cancel = async (id: string) =>
  expect((await stack.client.post(`/v1/jobs/${id}/cancel`, {})).ok).toBe(true);

describe.each([
  ['anthropic', () => ({ ANTHROPIC_BASE_URL: stack.url, ANTHROPIC_API_KEY: 'none' }), []],
  [
    'openai',
    () => ({ OPENAI_BASE_URL: `${stack.url}/v1`, OPENAI_API_KEY: 'none' }),
    ['-M', 'responses_api=false'],
  ],
] as const)('inspect_ai over %s, unmodified', (provider, environment, options) => {
  let runs = 0;

  /** An evaluation of three samples a word; `batch` as on the command line. */
  const evaluate = async (words: string, batch?: string): Promise<EvalLog> => {
    runs += 1;
    const folder = join(stack.folder, `logs-${provider}-${runs}`);
    const model = ['--model', `${provider}/${MODEL}`, ...options];
    const task = ['eval', 'inspect_task.py', '-T', `words=${words}`, '-T', 'count=3', '--no-fail-on-error'];
    const log = ['--display', 'plain', '--log-dir', folder, '--log-format', 'json'];
    await runTool({
      bin,
      tool: 'inspect',
      words: [...task, ...model, ...log, batch === undefined ? '--batch' : `--batch=${batch}`],
      environment: environment(),
    });
    const [file] = readdirSync(folder).filter((name) => name.endsWith('.json'));
    return JSON.parse(readFileSync(join(folder, file ?? ''), 'utf8')) as EvalLog;
  };
  /** Sent and polled more often than Inspect does by itself, which is every 15 seconds. */
  const evaluateSoon = (words: string) => {
    const file = join(stack.folder, 'inspect-batch.json');
    writeFileSync(file, JSON.stringify({ tick: 0.3, send_delay: 0.3 }));
    return evaluate(words, file);
  };
  const failedSamples = ({ samples }: EvalLog) =>
    samples.filter(({ error }) => error !== undefined && error !== null).map(({ id }) => id);
  const ids = (word: string) => [0, 1, 2].map((index) => `${word}-${index}`);
  const accuracy = (log: EvalLog) => log.results?.scores[0]?.metrics.accuracy.value;

  it('evaluates in batches', async () => {
    const log = await evaluate('inspect+other');
    expect(log.status).toBe('success');
    expect(failedSamples(log)).toEqual([]);
    expect(accuracy(log)).toBe(1);
  });

  it('ends when every item failed', async () => {
    expect(failedSamples(await evaluateSoon('poison'))).toEqual(ids('poison'));
  });

  /** Of OpenAI's error lines Inspect can read none: whatever the service, they fail their whole batch. */
  it('sees which items failed', async () => {
    const failed = failedSamples(await evaluateSoon('inspect+poison'));
    if (provider === 'anthropic') expect(failed).toEqual(ids('poison'));
    else expect(failed).toEqual(expect.arrayContaining(ids('poison')));
  });

  /** What never ran it asks for again where it can tell, as with Anthropic; otherwise the samples fail. */
  it.each([
    ['cancelled', cancel],
    ['expired', (id: string) => endWindow(stack, id)],
  ] as const)('does not wait for a batch that is %s midway', async (_, stop) => {
    const evaluated = evaluateSoon('inspect+held');
    const id = await jobMidway(stack, 3);
    engine.setFaults([]);
    await stop(id);
    const log = await evaluated;
    if (provider === 'anthropic') expect([failedSamples(log), accuracy(log)]).toEqual([[], 1]);
    else expect(failedSamples(log)).toEqual(expect.arrayContaining(ids('held')));
  });
});
