import { join } from 'node:path';
import { runAllAtOnce } from '../clients/all-at-once.ts';
import { runBare } from '../clients/bare-client.ts';
import { runBatch } from '../clients/run-batch.ts';
import { MODEL } from '../harness/engine.ts';
import { type BenchOptions, inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { showEstimate } from '../report.ts';
import { seededRandom } from '../stats.ts';
import { batchLine, type Input, readBodies, writeInput, writeLines } from '../workload.ts';

/** What a large engine runs at once, and what the bare client sends at once. */
const SEQUENCES = 256;
/** Real time is this share of the model's: a job takes seconds. */
const TIME_SCALE = 0.25;
const CHARACTERS_PER_TOKEN = 4;
const MOST_REPETITIONS = 3;

interface Shape {
  readonly name: string;
  readonly items: number;
  /** Items share a system prompt with the others of their group; 0: they have none. */
  readonly groups: number;
  readonly maxTokens: (random: () => number) => number;
  /** KV memory of the engine, in blocks of 16 tokens. */
  readonly blocks: number;
}

const PREFIX_TOKENS = 3_000;

const SHAPES: readonly Shape[] = [
  { name: 'shared prefixes', items: 1_000, groups: 60, maxTokens: () => 12, blocks: 4_096 },
  { name: 'heavy tail of answers', items: 4_000, groups: 0, maxTokens: heavyTail, blocks: 16_384 },
  { name: 'both', items: 2_000, groups: 60, maxTokens: heavyTail, blocks: 4_096 },
];

interface OrderRun {
  readonly bareMs: number;
  readonly allAtOnceMs: number;
  readonly ourMs: number;
}

/** What planning the order of a whole job gains at an engine with a prefix cache. */
export const order: Measurement = {
  title: 'Planned order against input order',
  async run(options) {
    const data: Record<string, OrderRun[]> = {};
    for (const shape of SHAPES) data[shape.name] = await measure(options, shape);
    return {
      data,
      tables: [
        {
          caption: `engine-sim as a step model of vLLM's scheduler (${SEQUENCES} sequences, prefix cache, real time × ${TIME_SCALE}), items in mixed order; bare client with ${SEQUENCES} connections in input order; a client with the semantics of \`vllm run-batch\` (all at once, in input order). 60 groups that share ${PREFIX_TOKENS.toLocaleString('en')} tokens; answers of 12 tokens, or log-normal up to 4,000. After one job that is not counted. Median (95 % interval).`,
          columns: ['job', 'runs', 'bare s', 'as run-batch s', 'batch-infer s', 'ratio', 'to run-batch'],
          rows: Object.entries(data).map(([name, runs]) => [
            name,
            String(runs.length),
            showEstimate(runs.map(({ bareMs }) => bareMs / 1_000)),
            showEstimate(runs.map(({ allAtOnceMs }) => allAtOnceMs / 1_000)),
            showEstimate(runs.map(({ ourMs }) => ourMs / 1_000)),
            `**${showEstimate(runs.map(({ ourMs, bareMs }) => ourMs / bareMs))}**`,
            `**${showEstimate(runs.map(({ ourMs, allAtOnceMs }) => ourMs / allAtOnceMs))}**`,
          ]),
        },
      ],
    };
  },
};

async function measure(options: BenchOptions, shape: Shape): Promise<OrderRun[]> {
  const runs: OrderRun[] = [];
  const flags = [
    '--mode',
    'step',
    '--max-num-seqs',
    String(SEQUENCES),
    '--num-gpu-blocks',
    String(shape.blocks),
  ];
  const engine = {
    serviceMs: 0,
    flags: [...flags, '--time-scale', String(TIME_SCALE), '--output-tokens', '4000'],
  };
  const warmUp = await writeInput({ file: inputFile(options, 'warm-up.jsonl'), items: 300, salt: 'warm-up' });
  await withStack(startStack(options, engine), async (stack) => {
    await runBatch(stack, warmUp);
    for (let index = 0; index < Math.min(options.repetitions, MOST_REPETITIONS); index += 1) {
      // Other prefixes each time and for each side: none finds another's in the cache.
      const [forBare, forAllAtOnce, forUs] = [
        await write(options, shape, `${index}-bare`),
        await write(options, shape, `${index}-all-at-once`),
        await write(options, shape, `${index}-ours`),
      ];
      const bare = await runBare({
        engineUrl: stack.engine.url,
        bodies: await readBodies(forBare),
        concurrency: SEQUENCES,
        outputFile: join(stack.folder, 'bare.jsonl'),
      });
      const allAtOnceMs = await runAllAtOnce({
        engineUrl: stack.engine.url,
        inputFile: forAllAtOnce.file,
        outputFile: join(stack.folder, 'all-at-once.jsonl'),
      });
      const run = { bareMs: bare.elapsedMs, allAtOnceMs, ourMs: await runBatch(stack, forUs) };
      runs.push(run);
      options.say(
        `order ${shape.name} ${index + 1}: ${(run.ourMs / run.bareMs).toFixed(2)} ${JSON.stringify(run)}`,
      );
    }
  });
  return runs;
}

/** The same job for the same numbers, whatever its salt: only the texts differ. */
function write(options: BenchOptions, shape: Shape, salt: string): Promise<Input> {
  const random = seededRandom(7);
  const places = Array.from({ length: shape.items }, (_, index) => ({ index, place: random() }));
  const mixed = places.toSorted((first, second) => first.place - second.place).map(({ index }) => index);
  return writeLines(inputFile(options, `order-${salt}.jsonl`), shape.items, (line) => {
    const group = (mixed[line] ?? 0) % Math.max(1, shape.groups);
    const maxTokens = shape.maxTokens(random);
    const system = { role: 'system', content: text(`${salt} group ${group}`, PREFIX_TOKENS) };
    return batchLine(line, {
      model: MODEL,
      messages: [
        ...(shape.groups > 0 ? [system] : []),
        { role: 'user', content: text(`${salt} item ${line}`, 50) },
      ],
      max_tokens: maxTokens,
      // Only the simulated engine reads it: answers end on their own, between half of the limit and all of it.
      sim_output_tokens: Math.max(1, Math.round(maxTokens * (0.5 + 0.5 * random()))),
    });
  });
}

/** Log-normal: most answers are short, few are very long. */
function heavyTail(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.max(4, Math.min(4_000, Math.round(Math.exp(4.2 + 1.2 * normal))));
}

function text(name: string, tokens: number): string {
  const characters = tokens * CHARACTERS_PER_TOKEN;
  return `${name} `.repeat(Math.ceil(characters / (name.length + 1))).slice(0, characters);
}
