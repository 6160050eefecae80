/** Where results go: a file, standard output, or another stream. */
export interface ResultOutput extends AsyncDisposable {
  /** As the user named it. */
  readonly name: string;
  /** Absolute path of a plain file; `null` for streams. */
  readonly path: string | null;
  /** True for standard output: nothing else may be printed there. */
  readonly isStandardOutput: boolean;
  /**
   * Makes it ready for the results of a job. Resolves to how many lines it holds already, from an interrupted run of the
   * same job and format.
   */
  begin(owner: ResultOwner, signal: AbortSignal): Promise<number>;
  writeLine(line: string): Promise<void>;
  /** All lines are there. */
  finish(): Promise<void>;
}

/** Whose results, and in which form. */
export interface ResultOwner {
  readonly job_id: string;
  readonly format: string;
}

/** A reader of a stream should not wait longer for a line that is there. */
const STREAM_DELAY_MS = 50;
const FLUSH_CHARS = 256 * 1024;

/** Collects lines into larger writes. */
export class LineBuffer {
  readonly #write: (text: string) => Promise<void>;
  readonly #delayMs: number | null;
  #lines: string[] = [];
  #chars = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Writes go one after the other; a failure stays for whoever writes next. */
  #last: Promise<void> = Promise.resolve();

  /** `prompt`: for readers who wait for each line. */
  constructor(write: (text: string) => Promise<void>, { prompt }: { prompt: boolean }) {
    this.#write = write;
    this.#delayMs = prompt ? STREAM_DELAY_MS : null;
  }

  async add(line: string): Promise<void> {
    this.#lines.push(line, '\n');
    this.#chars += line.length + 1;
    if (this.#chars >= FLUSH_CHARS) await this.flush();
    else if (this.#delayMs !== null) this.#timer ??= setTimeout(() => void this.#start(), this.#delayMs);
  }

  /** Resolves when everything is written. @throws what writing threw. */
  async flush(): Promise<void> {
    await this.#start();
    await this.#last;
  }

  #start(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const text = this.#lines.join('');
    this.#lines = [];
    this.#chars = 0;
    if (text !== '') this.#last = this.#last.then(() => this.#write(text));
    // Its failure is seen by the next flush; until then it must not count as unhandled.
    return this.#last.catch(() => undefined);
  }
}
