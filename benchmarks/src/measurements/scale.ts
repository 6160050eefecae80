import { runBatch } from '../clients/run-batch.ts';
import { type Kafka, startKafka } from '../harness/kafka.ts';
import { cpuSecondsBetween } from '../harness/stack.ts';
import { type BenchOptions, inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { megabytes, showEstimate } from '../report.ts';
import { writeInput } from '../workload.ts';

const RUNNERS = [1, 2, 4, 8];
const ITEMS_PER_RUNNER = 1_000;
const SLOTS = 16;
const SERVICE_MS = 100;
const MOST_REPETITIONS = 3;

interface ScaleRun {
  readonly elapsedMs: number;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

interface ScaleResult {
  readonly transport: string;
  readonly runners: number;
  readonly runs: readonly ScaleRun[];
}

/** One job over many runners, offers direct and over Kafka. */
export const scale: Measurement = {
  title: 'Many runners, direct and over Kafka',
  async run(options) {
    const results = await measureAll(options, 'direct', () => ({}));
    let remark = '';
    try {
      const kafka = await startKafka(options.say);
      try {
        results.push(...(await measureAll(options, 'Kafka', kafka.environment)));
      } finally {
        await kafka.stop();
      }
    } catch (error) {
      remark = ` Not over Kafka: ${error instanceof Error ? error.message : String(error)}`;
    }
    return {
      data: results,
      tables: [
        {
          caption: `${ITEMS_PER_RUNNER.toLocaleString('en')} items for each runner in one job, an engine of ${SLOTS} slots × ${SERVICE_MS} ms for each runner, all on this machine; upload → results fetched, OpenAI API; of ${results[0]?.runs.length ?? 0} runs after one that is not counted. Ideal is what the engines alone could do.${remark}`,
          columns: [
            'offers',
            'runners',
            'items/s',
            'of ideal',
            'CPU s per 1,000 items, all our processes',
            'largest process',
          ],
          rows: results.map(toRow),
        },
      ],
    };
  },
};

async function measureAll(
  options: BenchOptions,
  transport: string,
  environment: Kafka['environment'],
): Promise<ScaleResult[]> {
  const results: ScaleResult[] = [];
  for (const runners of RUNNERS) {
    const input = await writeInput({
      file: inputFile(options, `scale-${runners}.jsonl`),
      items: ITEMS_PER_RUNNER * runners,
      salt: 'scale',
    });
    const starting = startStack(
      options,
      { slots: SLOTS, serviceMs: SERVICE_MS },
      { runners, environment: environment() },
    );
    const runs = await withStack(starting, async (stack) => {
      const done: ScaleRun[] = [];
      const repetitions = Math.min(options.repetitions, MOST_REPETITIONS);
      for (let index = 0; index <= repetitions; index += 1) {
        const before = stack.usage();
        const elapsedMs = await runBatch(stack, input);
        const after = stack.usage();
        const peakRssBytes = Math.max(...Object.values(after).map((usage) => usage.peakRssBytes));
        done.push({ elapsedMs, cpuSeconds: cpuSecondsBetween(before, after), peakRssBytes });
      }
      return done.slice(1);
    });
    options.say(
      `scale ${transport} ${runners}: ${runs.map(({ elapsedMs }) => Math.round(elapsedMs)).join(', ')} ms`,
    );
    results.push({ transport, runners, runs });
  }
  return results;
}

function toRow({ transport, runners, runs }: ScaleResult): string[] {
  const items = ITEMS_PER_RUNNER * runners;
  const ideal = (runners * SLOTS * 1_000) / SERVICE_MS;
  const rates = runs.map(({ elapsedMs }) => items / (elapsedMs / 1_000));
  return [
    transport,
    String(runners),
    showEstimate(rates, 0),
    showEstimate(rates.map((rate) => rate / ideal)),
    showEstimate(runs.map(({ cpuSeconds }) => cpuSeconds / (items / 1_000))),
    megabytes(Math.max(...runs.map(({ peakRssBytes }) => peakRssBytes))),
  ];
}
