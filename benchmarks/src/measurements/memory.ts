import { join } from 'node:path';
import { NativeClient } from '../clients/native-client.ts';
import { cpuSecondsBetween, type Stack } from '../harness/stack.ts';
import { inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { requireAll } from '../outcomes.ts';
import { megabytes } from '../report.ts';
import { writeInput } from '../workload.ts';

const LINE_BYTES = 1_000;
const ITEMS = 100_000;
const FULL_ITEMS = 1_000_000;
const SAMPLE_INTERVAL_MS = 250;
const TENTHS = [1, 3, 5, 7, 9];

interface Sample {
  /** Share of the items answered, 0 to 1. */
  readonly done: number;
  readonly rssBytes: Readonly<Record<string, number>>;
}

/** Memory of each process over one big job: flat, or growing with the job? */
export const memory: Measurement = {
  title: 'Memory over a big job',
  async run(options) {
    const items = options.full ? FULL_ITEMS : ITEMS;
    const input = await writeInput({
      file: inputFile(options, 'memory.jsonl'),
      items,
      salt: 'memory',
      lineBytes: LINE_BYTES,
    });
    return await withStack(startStack(options, { serviceMs: 0 }), async (stack) => {
      const sampler = startSampling(stack, items);
      const before = stack.usage();
      const client = new NativeClient(stack.serverUrl);
      const startedAt = performance.now();
      const { id } = await client.submitFile(input.file);
      const submittedAt = performance.now();
      options.say(`memory: ${items} items submitted in ${Math.round(submittedAt - startedAt)} ms`);
      await client.waitForEnd(id);
      const endedAt = performance.now();
      options.say(`memory: ended after ${Math.round(endedAt - submittedAt)} ms`);
      const files = await client.fetchResults(id, join(stack.folder, 'memory-results.jsonl'));
      const fetchedAt = performance.now();
      await client.close();
      const after = stack.usage();
      const samples = await sampler.stop();
      await requireAll(files, items);
      const cpuSeconds = cpuSecondsBetween(before, after);
      const peaks = Object.fromEntries(
        Object.entries(after).map(([name, usage]) => [name, usage.peakRssBytes]),
      );
      const seconds = {
        submit: submittedAt - startedAt,
        run: endedAt - submittedAt,
        fetch: fetchedAt - endedAt,
      };
      return {
        data: { items, seconds, cpuSeconds, peaks, samples },
        tables: [
          {
            caption: `One job of ${items.toLocaleString('en')} items (${megabytes(input.bytes)}), instant engine, native NDJSON in and out, one run: submitted in ${show(seconds.submit)}, run in ${show(seconds.run)} (${Math.round(items / (seconds.run / 1_000)).toLocaleString('en')} items/s), results streamed in ${show(seconds.fetch)}; ${(cpuSeconds / (items / 1_000)).toFixed(2)} CPU s per 1,000 items over both processes. Resident memory at shares of the job done, and the peak over the whole life.`,
            columns: ['process', ...TENTHS.map((tenth) => `${tenth}0 %`), 'peak'],
            rows: Object.entries(peaks).map(([name, peak]) => [
              name,
              ...TENTHS.map((tenth) => megabytes(at(samples, tenth / 10)?.rssBytes[name] ?? 0)),
              `**${megabytes(peak)}**`,
            ]),
          },
        ],
      };
    });
  },
};

const show = (milliseconds: number): string => `${(milliseconds / 1_000).toFixed(1)} s`;

const at = (samples: readonly Sample[], done: number): Sample | undefined =>
  samples.find((sample) => sample.done >= done);

function startSampling(stack: Stack, items: number): { stop: () => Promise<Sample[]> } {
  const samples: Sample[] = [];
  const sample = async (): Promise<void> => {
    const { completed } = await stack.engine.stats();
    const rss = Object.entries(stack.usage()).map(([name, usage]) => [name, usage.rssBytes] as const);
    samples.push({ done: completed / items, rssBytes: Object.fromEntries(rss) });
  };
  let last = Promise.resolve();
  const timer = setInterval(() => {
    last = last.then(sample);
  }, SAMPLE_INTERVAL_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await last;
      return samples;
    },
  };
}
