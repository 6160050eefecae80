import { setImmediate as nextTurn } from 'node:timers/promises';
import type { InputError } from '@batch-infer/contracts';
import type { ScanResult } from '@batch-infer/contracts/jsonl';
import { assertGoodInput } from '../ingest/ingest.js';
import { compactJson } from '../ingest/json-pieces.js';

/** Work handed over inside the JSON of the request, as the JSON text that came. */
export type InlineInput =
  | { readonly kind: 'single'; readonly body: Buffer }
  | { readonly kind: 'items'; readonly items: readonly Buffer[] };

const LINE_FEED = Buffer.from('\n');
/** Bytes that are encoded before others get their turn. */
const SLICE_BYTES = 256 * 1024;

/** The input as a JSONL file: from here on the path is the same for every way of handing work over. */
export async function encodeInline(input: InlineInput): Promise<Buffer> {
  if (input.kind === 'single')
    return Buffer.concat([Buffer.from('{"body":'), compactJson(input.body), Buffer.from('}\n')]);
  const pieces: Buffer[] = [];
  let bytes = 0;
  for (const item of input.items) {
    pieces.push(compactJson(item), LINE_FEED);
    bytes += item.length;
    if (bytes < SLICE_BYTES) continue;
    bytes = 0;
    await nextTurn();
  }
  return Buffer.concat(pieces);
}

/**
 * Refuses bad items under the names that the client gave them: `items.3.body.model` or `input.messages`.
 * @throws DomainError `invalid_file`
 */
export function assertInlineItems(scan: ScanResult, input: InlineInput): void {
  const errors = scan.errors.map((error) => toInlineError(error, input));
  assertGoodInput({ errors, errorCount: scan.errorCount });
}

function toInlineError(error: InputError, input: InlineInput): InputError {
  const text = error.message
    .replace(/^Line \d+:? /, '')
    .replace(/ of line (\d+)$/, (_, line: string) => ` of items.${Number(line) - 1}`);
  if (input.kind === 'single') {
    const param =
      error.param
        ?.replace(/^body(?=\.|$)/, 'input')
        .replace(/^url$/, 'endpoint')
        .replace(/^input\.model$/, 'model') ?? 'input';
    const message = text
      .replace(/^body\.model is missing.*/, 'model is missing')
      .replace(/^url is missing.*/, 'endpoint is missing')
      .replace(/\bbody\./, 'input.');
    return { ...error, line: null, param, message };
  }
  const item = `items.${(error.line ?? 1) - 1}`;
  return {
    ...error,
    line: null,
    param: error.param === null ? item : `${item}.${error.param}`,
    message: `${item}: ${text}`,
  };
}
