export type PartName = 'kafka' | 'postgres' | 's3';

export interface StartStackOptions {
  /** Kept after `stop`, with its data. Default: a temporary folder, deleted by `stop`. */
  readonly dir?: string;
  /** Default: all three. */
  readonly only?: readonly PartName[];
  /** Told what takes long: downloads and compilations of a first start. */
  readonly report?: (message: string) => void;
}

export interface RunningStack {
  readonly dir: string;
  /** `BATCH_INFER_*` and `AWS_*` variables that `serve` and `runner` need. */
  readonly env: Readonly<Record<string, string>>;
  /** Pids that serve: a killed part keeps its entry until it is started again. */
  readonly pids: Readonly<Partial<Record<PartName, number>>>;
  /** `kill -9`; resolves when the process is gone. Rejects when the part does not run. */
  killPart(name: PartName): Promise<void>;
  /** Ends the part if it runs and starts it on the same ports and data; resolves when it serves. */
  restartPart(name: PartName): Promise<void>;
  /** Ends all parts; deletes the data of a temporary folder. */
  stop(): Promise<void>;
}

/**
 * Starts real servers (Apache Kafka, PostgreSQL, versitygw) on free loopback ports with data of their own.
 * Rejects, with one line for each part that is missing and how to get it, and leaves nothing running.
 * A first start downloads and compiles: allow 5 minutes; later ones take 2 to 5 seconds.
 */
export function startStack(options?: StartStackOptions): Promise<RunningStack>;

/**
 * Waits for a lock file and holds it; one whose holder has died is taken over. Resolves to what releases it.
 * Rejects after `timeoutMs` (default 15 minutes). `onWait` is called once, when another process holds it.
 */
export function acquireLock(
  lockFile: string,
  options: { readonly onWait: (holderPid: number) => void; readonly timeoutMs?: number },
): Promise<() => void>;
