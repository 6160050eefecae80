import { type EngineSim, type EngineSimOptions, startEngineSim } from '@batch-infer/testkit';
import { afterEach } from 'vitest';
import type { RunnerOptions } from '../src/config.js';
import { type Runner, type RunnerDependencies, startRunner } from '../src/runner.js';
import { FakeControlPlane, type FakeJob, type FakeResult } from './fake-control-plane.js';
import { silentLogger, testConfig, until } from './fixtures.js';

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** An engine that ends with the test. Quick, unless told otherwise. */
export async function sim(options: EngineSimOptions = {}): Promise<EngineSim> {
  const engine = await startEngineSim({ serviceTimeMs: 10, ...options });
  closers.push(() => engine.close());
  return engine;
}

/** A control plane that ends with the test. */
export async function controlPlane(): Promise<FakeControlPlane> {
  const server = await new FakeControlPlane().start();
  closers.push(() => server.close());
  return server;
}

/** A runner that ends with the test. */
export async function runner(options: RunnerOptions, dependencies: RunnerDependencies = {}): Promise<Runner> {
  const started = await startRunner(testConfig({ window: 32, drainTimeout: 1, ...options }), {
    logger: silentLogger,
    ...dependencies,
  });
  closers.push(() => started.drain({ fast: true }));
  return started;
}

export interface FinishedJob {
  readonly server: FakeControlPlane;
  readonly jobId: string;
  readonly runner: Runner;
  /** In index order. */
  readonly results: readonly FakeResult[];
}

/** Runs one job to its end. */
export async function runJob(
  engine: EngineSim,
  job: FakeJob,
  options: RunnerOptions = {},
): Promise<FinishedJob> {
  const server = await controlPlane();
  const jobId = server.addJob(job);
  const started = await runner({ server: server.url, engineUrl: [engine.url], ...options });
  await until(() => server.ended(jobId) === job.lines.length, 'all items ended');
  return { server, jobId, runner: started, results: server.resultsOf(jobId) };
}
