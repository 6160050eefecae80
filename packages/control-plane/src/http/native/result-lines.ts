import { itemError, toSingleLine } from '@batch-infer/contracts';
import type { Result } from '../../jobs/results.js';

/** Batches of results as NDJSON bytes of the native API; engine bodies pass through untouched. */
export async function* toResultLines(batches: AsyncIterable<readonly Result[]>): AsyncGenerator<Buffer> {
  for await (const batch of batches) {
    const pieces: Uint8Array[] = [];
    for (const result of batch)
      for (const piece of piecesOf(result))
        pieces.push(typeof piece === 'string' ? Buffer.from(piece) : piece);
    yield Buffer.concat(pieces);
  }
}

function piecesOf({ item, cursor }: Result): (string | Uint8Array)[] {
  const end = cursor === null ? '}\n' : `,"cursor":"${cursor}"}\n`;
  const head = (customId: string, status: string): string =>
    `{"index":${item.index},"custom_id":${safeJson(customId)},"status":"${status}"`;
  if (item.ended === 'never_run') {
    const ended = itemError(item.status === 'expired' ? 'job_expired' : 'job_cancelled');
    const error = item.customId === '' ? { ...ended, message: `${ended.message} ${ID_UNKNOWN}` } : ended;
    return [`${head(item.customId, item.status)},"error":${safeJson(error)},"attempts":0${end}`];
  }
  const { header, body } = item;
  const tail = `,"attempts":${header.a},"latency_ms":${header.ms}${end}`;
  if (!header.ok)
    return [`${head(header.c, 'failed')},"error":${safeJson(header.e ?? itemError('engine_error'))}${tail}`];
  const usage = header.u === undefined ? '' : `,"usage":${usageJson(header.u)}`;
  const origin = header.f === undefined ? '' : `,"reused_from":${safeJson(header.f.j)}`;
  return [
    `${head(header.c, 'succeeded')},"response":`,
    body.length > 0 ? body : 'null',
    `${usage}${origin}${tail}`,
  ];
}

const ID_UNKNOWN = 'Its custom_id is not known any more: the input file was deleted.';

const safeJson = (value: unknown): string => toSingleLine(JSON.stringify(value));

const usageJson = ([input, cached, output]: readonly [number, number, number, number]): string =>
  JSON.stringify({ input_tokens: input, cached_input_tokens: cached, output_tokens: output });
