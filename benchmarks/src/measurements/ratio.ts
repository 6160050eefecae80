import { join } from 'node:path';
import { runAllAtOnce } from '../clients/all-at-once.ts';
import { runBare } from '../clients/bare-client.ts';
import { NativeClient } from '../clients/native-client.ts';
import { runBatch } from '../clients/run-batch.ts';
import { describeEngine } from '../harness/engine.ts';
import { cpuSecondsBetween, type Stack } from '../harness/stack.ts';
import {
  type BenchOptions,
  inputFile,
  type Measurement,
  SLOTS,
  startStack,
  withStack,
} from '../measurement.ts';
import { requireAll } from '../outcomes.ts';
import { megabytes, showEstimate } from '../report.ts';
import { median } from '../stats.ts';
import { type Input, readBodies, writeInput } from '../workload.ts';

type Dialect = 'OpenAI' | 'native';

interface Case {
  readonly items: number;
  readonly serviceMs: number;
  readonly dialect: Dialect;
}

const CASES: readonly Case[] = [
  { items: 300, serviceMs: 50, dialect: 'OpenAI' },
  { items: 3_000, serviceMs: 50, dialect: 'OpenAI' },
  { items: 20_000, serviceMs: 50, dialect: 'OpenAI' },
  { items: 3_000, serviceMs: 200, dialect: 'OpenAI' },
  { items: 3_000, serviceMs: 0, dialect: 'OpenAI' },
  { items: 20_000, serviceMs: 0, dialect: 'OpenAI' },
  { items: 3_000, serviceMs: 50, dialect: 'native' },
  { items: 20_000, serviceMs: 0, dialect: 'native' },
];

interface Repetition {
  readonly bareMs: number;
  readonly bareCpuSeconds: number;
  readonly allAtOnceMs: number;
  readonly ourMs: number;
  readonly ourCpuSeconds: number;
}

interface CaseResult extends Case {
  readonly repetitions: readonly Repetition[];
  readonly peakRssBytes: Readonly<Record<string, number>>;
}

/** Time from the first byte of the upload to the last byte of the results, over that of a bare client. */
export const ratio: Measurement = {
  title: 'Time through batch-infer over the time of a bare client',
  async run(options) {
    const results: CaseResult[] = [];
    for (const wanted of CASES) results.push(await runCase(options, wanted));
    return {
      tables: [
        {
          caption: `Upload → results on disk, ${options.repetitions} repetitions, bare client (${SLOTS} connections), a client with the semantics of \`vllm run-batch\` and batch-infer in turn on one engine-sim, after one job that is not counted. Window: ${options.window ?? 'steered by the runner'}. Median (95 % interval).`,
          columns: [
            'items',
            'engine',
            'driven by',
            'bare s',
            'as run-batch s',
            'batch-infer s',
            'ratio',
            'to run-batch',
            'items/s',
            'CPU s per 1,000: ours',
            'bare',
            'peak RSS',
          ],
          rows: results.map(toRow),
        },
      ],
      data: results,
    };
  },
};

async function runCase(options: BenchOptions, wanted: Case): Promise<CaseResult> {
  const { items, serviceMs } = wanted;
  const input = await writeInput({ file: inputFile(options, `ratio-${items}.jsonl`), items, salt: 'ratio' });
  const warmUp = await writeInput({ file: inputFile(options, 'warm-up.jsonl'), items: 300, salt: 'warm-up' });
  const bodies = await readBodies(input);
  const runOurs = wanted.dialect === 'OpenAI' ? runBatch : runNative;
  return await withStack(startStack(options, { serviceMs }), async (stack) => {
    await runOurs(stack, warmUp);
    const repetitions: Repetition[] = [];
    for (let index = 0; index < options.repetitions; index += 1) {
      const bare = await runBare({
        engineUrl: stack.engine.url,
        bodies,
        concurrency: SLOTS,
        outputFile: join(stack.folder, 'bare.jsonl'),
      });
      if (bare.failed > 0) throw new Error(`the bare client saw ${bare.failed} errors`);
      const allAtOnceMs = await runAllAtOnce({
        engineUrl: stack.engine.url,
        inputFile: input.file,
        outputFile: join(stack.folder, 'all-at-once.jsonl'),
      });
      const before = stack.usage();
      const ourMs = await runOurs(stack, input);
      const ourCpuSeconds = cpuSecondsBetween(before, stack.usage());
      const { elapsedMs: bareMs, cpuSeconds: bareCpuSeconds } = bare;
      repetitions.push({ bareMs, bareCpuSeconds, allAtOnceMs, ourMs, ourCpuSeconds });
      options.say(
        `ratio ${items} × ${serviceMs} ms ${wanted.dialect} ${index + 1}/${options.repetitions}: ${(ourMs / bare.elapsedMs).toFixed(2)}`,
      );
    }
    const peaks = Object.entries(stack.usage()).map(([name, usage]) => [name, usage.peakRssBytes] as const);
    return { ...wanted, repetitions, peakRssBytes: Object.fromEntries(peaks) };
  });
}

async function runNative(stack: Stack, input: Input): Promise<number> {
  const client = new NativeClient(stack.serverUrl);
  const startedAt = performance.now();
  const { id } = await client.submitFile(input.file);
  await client.waitForEnd(id);
  const files = await client.fetchResults(id, join(stack.folder, 'results.jsonl'));
  const elapsedMs = performance.now() - startedAt;
  await client.close();
  await requireAll(files, input.items);
  return elapsedMs;
}

function toRow({ items, serviceMs, dialect, repetitions, peakRssBytes }: CaseResult): string[] {
  const of = (value: (repetition: Repetition) => number) => repetitions.map(value);
  const thousands = items / 1_000;
  return [
    items.toLocaleString('en'),
    describeEngine({ slots: SLOTS, serviceMs }),
    dialect,
    showEstimate(of(({ bareMs }) => bareMs / 1_000)),
    showEstimate(of(({ allAtOnceMs }) => allAtOnceMs / 1_000)),
    showEstimate(of(({ ourMs }) => ourMs / 1_000)),
    `**${showEstimate(of(({ ourMs, bareMs }) => ourMs / bareMs))}**`,
    showEstimate(of(({ ourMs, allAtOnceMs }) => ourMs / allAtOnceMs)),
    median(of(({ ourMs }) => items / (ourMs / 1_000))).toFixed(0),
    showEstimate(of(({ ourCpuSeconds }) => ourCpuSeconds / thousands)),
    showEstimate(of(({ bareCpuSeconds }) => bareCpuSeconds / thousands)),
    Object.entries(peakRssBytes)
      .map(([name, bytes]) => `${name} ${megabytes(bytes)}`)
      .join(', '),
  ];
}
