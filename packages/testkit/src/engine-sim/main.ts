import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parseFaultRules } from './faults.js';
import { startEngineSim } from './server.js';
import type { EngineSimOptions } from './types.js';

/** `node …/engine-sim/main.js --port 0 --slots 64 --service-ms 50 --model sim-model [--mode step] [--faults file.json] [--api-key K]` */
const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    model: { type: 'string', multiple: true, default: ['sim-model'] },
    mode: { type: 'string', default: 'slots' },
    slots: { type: 'string', default: '64' },
    'service-ms': { type: 'string', default: '200' },
    jitter: { type: 'string', default: '0.2' },
    'max-model-len': { type: 'string', default: '32768' },
    'max-num-seqs': { type: 'string', default: '256' },
    'max-num-batched-tokens': { type: 'string', default: '8192' },
    'num-gpu-blocks': { type: 'string', default: '16384' },
    'block-size': { type: 'string', default: '16' },
    'time-scale': { type: 'string', default: '1' },
    'max-num-queued-reqs': { type: 'string' },
    'output-tokens': { type: 'string', default: '16' },
    'output-characters': { type: 'string', default: '0' },
    faults: { type: 'string' },
    'api-key': { type: 'string' },
    seed: { type: 'string', default: '1' },
    'no-request-log': { type: 'boolean', default: false },
  },
});

const options: EngineSimOptions = {
  port: number('port'),
  models: values.model,
  mode: values.mode === 'step' ? 'step' : 'slots',
  slots: number('slots'),
  serviceTimeMs: number('service-ms'),
  jitter: number('jitter'),
  maxModelLen: number('max-model-len'),
  step: {
    maxNumSeqs: number('max-num-seqs'),
    maxNumBatchedTokens: number('max-num-batched-tokens'),
    numGpuBlocks: number('num-gpu-blocks'),
    blockSize: number('block-size'),
  },
  timeScale: number('time-scale'),
  outputTokens: number('output-tokens'),
  outputCharacters: number('output-characters'),
  seed: number('seed'),
  requestLog: !values['no-request-log'],
  faults: values.faults === undefined ? [] : parseFaultRules(readFileSync(values.faults, 'utf8')),
  ...(values['max-num-queued-reqs'] === undefined
    ? {}
    : { maxQueuedRequests: number('max-num-queued-reqs') }),
  ...(values['api-key'] === undefined ? {} : { apiKey: values['api-key'] }),
  // As a crash would: without anyone to revive it, the process is gone.
  onDie: (revives) => {
    if (!revives) process.exit(1);
  },
};

const sim = await startEngineSim(options);
process.stderr.write(`engine-sim ready ${sim.url}\n`);
process.once('SIGTERM', stop);
process.once('SIGINT', stop);

function stop(): void {
  sim.close().then(
    () => process.exit(0),
    () => process.exit(1),
  );
}

function number(name: keyof typeof values): number {
  const value = Number(values[name]);
  if (!Number.isFinite(value)) throw new RangeError(`--${name} must be a number`);
  return value;
}
