import { constants, openSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CliError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import { writeDescriptor } from '../files/descriptor-streams.js';
import type { Io } from '../io.js';
import { LineBuffer, type ResultOutput, type ResultOwner } from './result-output.js';

/** How often a pipe without a reader is tried, and when that is said. */
const RETRY_MS = 50;
const TELL_AFTER_MS = 2_000;

/** Standard output. */
export class StandardOutput implements ResultOutput {
  readonly name = 'standard output';
  readonly path = null;
  readonly isStandardOutput = true;
  readonly #lines: LineBuffer;

  constructor(io: Io) {
    this.#lines = new LineBuffer((text) => io.writeOut(text), { prompt: true });
  }

  async begin(): Promise<number> {
    return 0;
  }

  async writeLine(line: string): Promise<void> {
    await this.#lines.add(line);
  }

  async finish(): Promise<void> {
    await this.#lines.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.flush().catch(() => undefined);
  }
}

/** A named pipe, a device, or a descriptor that the shell opened: lines pass through it as they come. */
export class ResultStream implements ResultOutput {
  readonly name: string;
  readonly path = null;
  readonly isStandardOutput = false;
  readonly #target: string | number;
  readonly #io: Io;
  readonly #lines = new LineBuffer((text) => this.#write(text), { prompt: true });
  #stream: Writable | null = null;

  /** `target`: a path, or the number of a descriptor. */
  constructor(name: string, target: string | number, io: Io) {
    this.name = name;
    this.#target = target;
    this.#io = io;
  }

  async begin(_owner: ResultOwner, signal: AbortSignal): Promise<number> {
    const target = this.#target;
    // Standard error is everybody's: it is written to and stays open.
    if (target === 2) this.#stream = process.stderr;
    else
      this.#stream = writeDescriptor(
        typeof target === 'number' ? target : await this.#openPath(target, signal),
      );
    // Failures are told by the write that they hit.
    this.#stream.on('error', () => undefined);
    return 0;
  }

  async writeLine(line: string): Promise<void> {
    await this.#lines.add(line);
  }

  async finish(): Promise<void> {
    await this.#lines.flush();
    const stream = this.#stream;
    this.#stream = null;
    if (stream === null || stream === process.stderr) return;
    stream.end();
    await finished(stream, { readable: false }).catch((error: unknown) => {
      throw this.#explain(error);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stream === null) return;
    await this.#lines.flush().catch(() => undefined);
    if (this.#stream !== process.stderr) this.#stream.destroy();
  }

  /** Opens a path for writing; a named pipe is waited for until somebody reads it. */
  async #openPath(path: string, signal: AbortSignal): Promise<number> {
    const tellAtMs = performance.now() + TELL_AFTER_MS;
    let told = false;
    for (;;) {
      signal.throwIfAborted();
      const descriptor = openWithoutWaiting(path);
      if (descriptor !== null) return descriptor;
      if (!told && performance.now() >= tellAtMs) {
        told = true;
        this.#io.writeError(`${this.name} is a pipe that nobody reads: the results wait for its reader\n`);
      }
      await delay(RETRY_MS);
    }
  }

  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stream === null) reject(new Error(`${this.name} is not open`));
      else this.#stream.write(text, (error) => (error ? reject(this.#explain(error)) : resolve()));
    });
  }

  #explain(error: unknown): unknown {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'EPIPE') return error;
    return new CliError(
      EXIT.unexpected,
      `Cannot write on to ${this.name}: its reader is gone`,
      'fetch the results again with `batch-infer results`',
    );
  }
}

/** `null` for a pipe that nobody reads. */
function openWithoutWaiting(path: string): number | null {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENXIO') return null;
    throw error;
  }
}
