import { BatchInferError, PartialFailureError } from './errors.js';
import type { JobsApi } from './jobs.js';
import { outputOf } from './output.js';
import type { WaitOptions } from './poll.js';
import type { StandardSchema } from './standard-schema.js';
import type { ItemError, ItemResult, Job, SubmitOptions } from './types.js';

/** Failures that a `PartialFailureError` names. */
const NAMED_FAILURES = 100;

export interface MapOptions<Output> extends SubmitOptions {
  /** Each answer, parsed as JSON where it is JSON, must pass; its output type is the type of the results. */
  readonly schema?: StandardSchema<Output>;
  readonly onProgress?: WaitOptions['onProgress'];
  /** `throw` (default): one failed row is enough for a `PartialFailureError`. `return`: rows come back as `MapResult`s. */
  readonly onError?: 'throw' | 'return';
}

/** A row's end with `onError: 'return'`. */
export type MapResult<Output> =
  | { readonly ok: true; readonly value: Output }
  | { readonly ok: false; readonly error: ItemError };

/** Runs rows as one job and brings the answers back in the rows' order, one for each. */
export async function mapRows<Row, Output>(
  jobs: JobsApi,
  rows: readonly Row[],
  toRequest: (row: Row, index: number) => Readonly<Record<string, unknown>>,
  options: MapOptions<Output>,
): Promise<{ job: Job | null; results: MapResult<Output>[] }> {
  if (rows.length === 0) return { job: null, results: [] };
  const { schema, onProgress, onError: _onError, ...submit } = options;
  const items = rows.map((row, index) => ({ body: toRequest(row, index) }));
  const handle = await jobs.submit({ ...submit, items });
  const { signal, maxRetries } = submit;
  const retries = maxRetries === undefined ? {} : { maxRetries };
  const wait = { signal, ...retries, ...(onProgress === undefined ? {} : { onProgress }) };
  const job = await handle.wait({ ...wait, onFailure: 'return' });
  const results: MapResult<Output>[] = [];
  for await (const result of handle.results({ signal, ...retries })) {
    results.push(await toMapResult(result, schema));
  }
  if (results.length !== rows.length) {
    throw new BatchInferError(`Job ${job.id} has ${results.length} results for ${rows.length} rows`);
  }
  return { job, results };
}

/** The values of rows that all succeeded. */
export function valuesOrThrow<Output>(job: Job, results: readonly MapResult<Output>[]): Output[] {
  const failures = results.flatMap((result, index) =>
    result.ok ? [] : [{ index, message: `${result.error.code}: ${result.error.message}` }],
  );
  if (failures.length > 0) {
    throw new PartialFailureError(job, failures.slice(0, NAMED_FAILURES), failures.length);
  }
  return results.flatMap((result) => (result.ok ? [result.value] : []));
}

async function toMapResult<Output>(
  result: ItemResult,
  schema: StandardSchema<Output> | undefined,
): Promise<MapResult<Output>> {
  if (!result.ok) return { ok: false, error: result.error };
  const output = outputOf(result.response);
  if (schema === undefined) return { ok: true, value: output as Output };
  return await validated(output, schema);
}

/** Tries the answer as JSON first, then as the text it is. */
async function validated<Output>(
  output: unknown,
  schema: StandardSchema<Output>,
): Promise<MapResult<Output>> {
  const candidates = typeof output === 'string' ? [...parsed(output), output] : [output];
  let problem = 'it is empty';
  for (const candidate of candidates) {
    const result = await schema['~standard'].validate(candidate);
    if (result.issues === undefined) return { ok: true, value: result.value };
    problem = result.issues.map(({ message }) => message).join('; ') || problem;
    if (typeof candidate === 'object') break;
  }
  const message = `The answer does not match the schema: ${problem}`;
  return {
    ok: false,
    error: { code: 'schema_mismatch', type: 'invalid_response', message, retryable: true },
  };
}

/** JSON, also inside a Markdown code fence, as models like to write it. */
function parsed(text: string): unknown[] {
  const fenced = /^\s*```(?:json)?\s*\n([\s\S]*?)\n\s*```\s*$/.exec(text)?.[1];
  try {
    return [JSON.parse(fenced ?? text)];
  } catch {
    return [];
  }
}
