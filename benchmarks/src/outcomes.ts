import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/** What came back for the items of a job. */
export interface Outcomes {
  readonly lines: number;
  readonly succeeded: number;
  /** Items that stand in no file. */
  readonly lost: number;
  /** Lines beyond the first of an item. */
  readonly doubled: number;
}

interface ResultLine {
  readonly custom_id: string;
  /** OpenAI's format. */
  readonly error?: unknown;
  readonly response?: { readonly status_code?: number } | null;
  /** The native format. */
  readonly status?: string;
}

/** Reads every line: a figure counts only when every answer is there. */
export async function readOutcomes(files: readonly string[], items: number): Promise<Outcomes> {
  const seen = new Set<string>();
  let lines = 0;
  let succeeded = 0;
  for (const file of files) {
    for await (const text of createInterface({
      input: createReadStream(file),
      crlfDelay: Number.POSITIVE_INFINITY,
    })) {
      const line = JSON.parse(text) as ResultLine;
      lines += 1;
      seen.add(line.custom_id);
      if (line.status === 'succeeded' || line.response?.status_code === 200) succeeded += 1;
    }
  }
  return { lines, succeeded, lost: items - seen.size, doubled: lines - seen.size };
}

/** @throws when an item is missing, doubled or failed: the time of such a run means nothing. */
export async function requireAll(files: readonly string[], items: number): Promise<void> {
  const outcomes = await readOutcomes(files, items);
  if (outcomes.succeeded === items && outcomes.lines === items && outcomes.lost === 0) return;
  throw new Error(`of ${items} items: ${JSON.stringify(outcomes)}`);
}
