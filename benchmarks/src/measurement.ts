import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineSettings } from './harness/engine.ts';
import { Stack, type StackSettings } from './harness/stack.ts';
import type { Table } from './report.ts';

/** What the command line asked for. */
export interface BenchOptions {
  readonly repetitions: number;
  /** The big inputs: 1 GB, 1,000,000 items. */
  readonly full: boolean;
  readonly window: number | null;
  readonly cli: string;
  readonly folder: string;
  readonly profileFolder: string | null;
  /** Says what is going on, on stderr. */
  readonly say: (text: string) => void;
}

export interface Measurement {
  readonly title: string;
  readonly run: (options: BenchOptions) => Promise<MeasurementResult>;
}

export interface MeasurementResult {
  readonly tables: readonly Table[];
  /** Every single value, for `--json`. */
  readonly data: unknown;
}

export const SLOTS = 64;

export function startStack(
  options: BenchOptions,
  engine: Partial<EngineSettings> & { readonly serviceMs: number },
  more: Pick<StackSettings, 'runners' | 'environment'> = {},
): Promise<Stack> {
  const { cli, folder, window, profileFolder } = options;
  return Stack.start({
    cli,
    folder,
    window,
    profileFolder,
    engine: { slots: SLOTS, ...engine },
    ...more,
  });
}

/** Runs against a stack and stops it, whatever happens. */
export async function withStack<Result>(
  starting: Promise<Stack>,
  run: (stack: Stack) => Promise<Result>,
): Promise<Result> {
  const stack = await starting;
  try {
    return await run(stack);
  } finally {
    await stack.stop();
  }
}

/** A file for inputs that outlive a stack. */
export function inputFile(options: BenchOptions, name: string): string {
  mkdirSync(options.folder, { recursive: true });
  return join(options.folder, name);
}
