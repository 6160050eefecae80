import { join } from 'node:path';
import { BatchClient } from '../clients/batch-client.ts';
import { engineCompleted, engineIdle } from '../harness/wait.ts';
import { inputFile, type Measurement, startStack, withStack } from '../measurement.ts';
import { type Outcomes, readOutcomes } from '../outcomes.ts';
import { quantile } from '../stats.ts';
import { writeInput } from '../workload.ts';

const ITEMS = 3_000;
const CANCEL_AT = 0.3;
const SERVICE_MS = 50;

interface CancelRun {
  /** Milliseconds from sending the cancel; zero or less when nothing came after it. */
  readonly lastRequestMs: number;
  readonly engineIdleMs: number;
  readonly terminalMs: number;
  readonly outcomes: Outcomes;
}

/** How soon a cancelled job leaves the engine alone. */
export const cancel: Measurement = {
  title: 'Cancel in the middle of a job',
  async run(options) {
    const runs = await withStack(startStack(options, { serviceMs: SERVICE_MS }), async (stack) => {
      const client = new BatchClient(stack.serverUrl);
      const measured: CancelRun[] = [];
      for (let index = 0; index < options.repetitions; index += 1) {
        const input = await writeInput({
          file: inputFile(options, 'cancel.jsonl'),
          items: ITEMS,
          salt: `cancel ${index}`,
        });
        const { completed: before } = await stack.engine.stats();
        const { id } = await client.create(await client.upload(input.file));
        await engineCompleted(stack.engine, before + ITEMS * CANCEL_AT);
        const cancelledAt = Date.now();
        await client.cancel(id);
        const batch = await client.waitForEnd(id);
        const terminalMs = Date.now() - cancelledAt;
        const { idleSince, lastRequestAt } = await engineIdle(stack.engine);
        const files = await client.fetchResults(batch, join(stack.folder, 'cancel'));
        const run = {
          lastRequestMs: lastRequestAt - cancelledAt,
          engineIdleMs: idleSince - cancelledAt,
          terminalMs,
          outcomes: await readOutcomes(files, ITEMS),
        };
        measured.push(run);
        options.say(`cancel ${index + 1}/${options.repetitions}: ${JSON.stringify(run)}`);
      }
      await client.close();
      return measured;
    });
    const show = (values: readonly number[]) =>
      `${quantile(values, 0.5).toFixed(0)} / ${Math.max(...values).toFixed(0)}`;
    const accounted = runs.every(({ outcomes }) => outcomes.lost === 0 && outcomes.doubled === 0);
    return {
      data: runs,
      tables: [
        {
          caption: `${ITEMS.toLocaleString('en')} items, engine 64 slots × ${SERVICE_MS} ms, cancelled at ${CANCEL_AT * 100} %; ${runs.length} runs; median / largest, in ms from sending the cancel.`,
          columns: [
            'last new request at the engine',
            'engine idle',
            'terminal seen (poll 50 ms)',
            'results kept',
            'output + error lines = total',
          ],
          rows: [
            [
              show(runs.map(({ lastRequestMs }) => lastRequestMs)),
              show(runs.map(({ engineIdleMs }) => engineIdleMs)),
              show(runs.map(({ terminalMs }) => terminalMs)),
              show(runs.map(({ outcomes }) => outcomes.succeeded)),
              accounted ? 'in every run' : 'NO',
            ],
          ],
        },
      ],
    };
  },
};
