import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { BenchOptions, Measurement } from './measurement.ts';
import { cancel } from './measurements/cancel.ts';
import { crash } from './measurements/crash.ts';
import { fault } from './measurements/fault.ts';
import { ingest } from './measurements/ingest.ts';
import { latency } from './measurements/latency.ts';
import { memory } from './measurements/memory.ts';
import { order } from './measurements/order.ts';
import { ratio } from './measurements/ratio.ts';
import { scale } from './measurements/scale.ts';
import { describeLoad, describeMachine, renderTable } from './report.ts';

/**
 * `npm run bench -- [--only ratio,ingest,…] [--repetitions 10] [--full] [--window N] [--json out.json]
 * [--folder DIR] [--cli FILE] [--profile DIR]`. Tables go to stdout, talk to stderr.
 */
const measurements: Readonly<Record<string, Measurement>> = {
  ratio,
  ingest,
  latency,
  crash,
  fault,
  cancel,
  memory,
  scale,
  order,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(measurements).join(',') },
    repetitions: { type: 'string', default: '10' },
    full: { type: 'boolean', default: false },
    window: { type: 'string' },
    json: { type: 'string' },
    folder: { type: 'string' },
    cli: { type: 'string' },
    profile: { type: 'string' },
  },
});

// npm runs this in the workspace's folder; what was typed is meant where it was typed.
const at = (path: string): string => resolve(process.env.INIT_CWD ?? '.', path);
const folder =
  values.folder === undefined ? mkdtempSync(join(tmpdir(), 'batch-infer-bench-')) : at(values.folder);
if (values.folder === undefined) process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const options: BenchOptions = {
  repetitions: wholeNumber('--repetitions', values.repetitions),
  full: values.full,
  window: values.window === undefined ? null : wholeNumber('--window', values.window),
  cli:
    values.cli === undefined
      ? join(fileURLToPath(import.meta.resolve('batch-infer/package.json')), '../bin/batch-infer.js')
      : at(values.cli),
  folder,
  profileFolder: values.profile === undefined ? null : at(values.profile),
  say: (text) => process.stderr.write(`${text}\n`),
};

const names = values.only.split(',');
const chosen = names.map((name) => {
  const measurement = measurements[name];
  if (measurement === undefined)
    throw new RangeError(
      `--only: no measurement is called ${name}; there are ${Object.keys(measurements).join(', ')}`,
    );
  return { name, ...measurement };
});

const machine = describeMachine();
console.log(`# batch-infer benchmarks\n\n${new Date().toISOString().slice(0, 10)} · ${machine}\n`);
const record: Record<string, unknown> = { machine, date: new Date().toISOString(), options };
for (const { name, title, run } of chosen) {
  const loadBefore = describeLoad();
  const startedAt = performance.now();
  const { tables, data } = await run(options);
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  const load = { before: loadBefore, after: describeLoad() };
  console.log(`## ${title}\n`);
  for (const table of tables) console.log(renderTable(table));
  console.log(`Took ${seconds} s. Load average before: ${load.before}, after: ${load.after}.\n`);
  record[name] = { load, seconds, data };
  // After each one: hours of figures must not die with the last measurement.
  if (values.json !== undefined) writeFileSync(at(values.json), `${JSON.stringify(record, null, 2)}\n`);
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new RangeError(`${name} must be a whole number of at least 1`);
  return value;
}
