/** Output tokens of an item before any of its job has ended. */
const PRIOR_TOKENS = 256;
const MEMORY_JOBS = 1_000;
/** Bytes of JSON that make up a token, about. */
const BYTES_PER_TOKEN = 4;

/** What items are expected to cost an engine, by what earlier items of their job brought forth. */
export class ExpectedOutput {
  readonly #byJob = new Map<string, number>();

  note(jobId: string, outputTokens: number): void {
    const before = this.#byJob.get(jobId);
    if (before === undefined && this.#byJob.size >= MEMORY_JOBS) {
      const [oldest] = this.#byJob.keys();
      if (oldest !== undefined) this.#byJob.delete(oldest);
    }
    this.#byJob.set(jobId, 0.95 * (before ?? outputTokens) + 0.05 * outputTokens);
  }

  /** Input and twice the output, in tokens: generating is what takes the time. At least 1. */
  costOf(jobId: string, bodyBytes: number): number {
    const output = this.#byJob.get(jobId) ?? PRIOR_TOKENS;
    return Math.max(1, Math.ceil(bodyBytes / BYTES_PER_TOKEN + 2 * output));
  }
}
