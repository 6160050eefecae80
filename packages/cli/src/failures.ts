import { CliError } from './cli-error.js';
import { EXIT } from './exit-codes.js';
import { Interrupt } from './interrupts.js';
import type { Io } from './io.js';
import { environmentName } from './settings/options.js';
import type { Settings } from './settings/settings.js';
import { jsonLine } from './terminal/json-line.js';
import { visible } from './terminal/visible-text.js';

/** A failure for people: exit code, what and why, and the next command. */
interface Failure {
  readonly exitCode: number;
  readonly message: string;
  readonly next: string | null;
}

/** Says what went wrong and resolves to the exit code. Also as an event, when events are wanted. */
export async function reportFailure(error: unknown, io: Io, settings?: Settings): Promise<number> {
  if (error instanceof Interrupt) return error.exitCode;
  const failure = await describeFailure(error);
  if (settings?.switch('json')) {
    const { exitCode, message, next } = failure;
    await io.writeOut(
      jsonLine({ event: 'error', at: new Date().toISOString(), exit_code: exitCode, message, next }),
    );
  }
  io.writeError(`error: ${failure.message}\n`);
  if (failure.next !== null) io.writeError(`next: ${failure.next}\n`);
  if (io.environment[environmentName('debug')] && error instanceof Error) io.writeError(`${error.stack}\n`);
  return failure.exitCode;
}

async function describeFailure(error: unknown): Promise<Failure> {
  if (error instanceof CliError) {
    return { exitCode: error.exitCode, message: error.message, next: error.next };
  }
  const { APIError, BatchInferError } = await import('@batch-infer/sdk');
  if (error instanceof APIError) return describeApiError(error);
  if (error instanceof BatchInferError) return { exitCode: EXIT.usage, message: error.message, next: null };
  return describeOther(error);
}

interface ApiFailure {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  readonly code: string;
  readonly requestId: string | null;
  readonly errors: readonly { readonly line: number | null; readonly message: string }[];
}

const OTHER_SERVER = 'point --base-url or BATCH_INFER_BASE_URL at a batch-infer server';

function describeApiError(error: ApiFailure): Failure {
  const { status } = error;
  if (status === undefined) {
    const next =
      error.code === 'invalid_answer'
        ? OTHER_SERVER
        : 'start one with `batch-infer up`, or point --base-url or BATCH_INFER_BASE_URL at yours';
    return { exitCode: EXIT.unavailable, message: error.message, next };
  }
  const details = error.errors.map(({ message }) => `\n  ${visible(message)}`).join('');
  const request = error.requestId === null ? '' : ` (request ${error.requestId})`;
  const message = `${visible(error.message)}${details}`;
  if (status === 401 || status === 403) {
    return {
      exitCode: EXIT.auth,
      message,
      next: 'set BATCH_INFER_API_KEY or --api-key to a key that may do this',
    };
  }
  if (status === 404) {
    // Ours names its code: anything else is an engine, or another server altogether.
    return error.code === 'not_found'
      ? { exitCode: EXIT.usage, message, next: '`batch-infer list` shows the jobs there are' }
      : {
          exitCode: EXIT.unavailable,
          message: `what answers is no batch-infer server: ${message}`,
          next: OTHER_SERVER,
        };
  }
  if (status < 500 && status !== 429 && status !== 408) return { exitCode: EXIT.usage, message, next: null };
  return {
    exitCode: EXIT.unavailable,
    message: `${message}${request}`,
    next: 'try again later; the same command goes on where it stopped',
  };
}

/** Errors of the parts that run inside this process, known by what they carry. */
function describeOther(error: unknown): Failure {
  if (!(error instanceof Error)) return { exitCode: EXIT.unexpected, message: String(error), next: null };
  const { message } = error;
  if ('exitCode' in error && typeof error.exitCode === 'number')
    return { exitCode: error.exitCode, message, next: null };
  const code = 'code' in error ? error.code : undefined;
  // The control plane says what is wrong and the next step in whole sentences.
  if (error.name === 'BootError')
    return { exitCode: isOutage(error) ? EXIT.unavailable : EXIT.usage, message, next: null };
  if (error.name === 'ConfigError') return { exitCode: EXIT.usage, message, next: null };
  if (error.name === 'DataFolderLockedError') {
    return {
      exitCode: EXIT.usage,
      message,
      next: 'use the server that is running, or give another folder with --data',
    };
  }
  if (code === 'EADDRINUSE') {
    return {
      exitCode: EXIT.usage,
      message: `The port is taken: ${message}`,
      next: 'choose another with --port (0 picks a free one), or stop what listens there',
    };
  }
  if (code === 'ENOSPC') {
    return {
      exitCode: EXIT.unavailable,
      message: `The disk is full: ${message}`,
      next: 'free some space, then run the command again',
    };
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return { exitCode: EXIT.usage, message: `No permission: ${message}`, next: null };
  }
  return {
    exitCode: EXIT.unexpected,
    message: `${error.name}: ${message}`,
    next: `${environmentName('debug')}=1 shows where it came from`,
  };
}

const OUTAGES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'ETIMEDOUT',
  'ENOSPC',
  'EDQUOT',
  'SQLITE_FULL',
]);

/** True when something that a server needs is away or full, not when it was told wrong things. */
function isOutage(error: Error): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && OUTAGES.has(String(cause.code))) return true;
    if (
      cause instanceof AggregateError &&
      cause.errors.some((part) => part instanceof Error && isOutage(part))
    )
      return true;
  }
  return false;
}
