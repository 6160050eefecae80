import { type InputError, LIMITS } from '@batch-infer/contracts';
import type { ScanSummary } from '@batch-infer/contracts/jsonl';
import type { JobOptions } from '@batch-infer/contracts/native';
import type { NewShard } from '../ports/ledger.js';

/** What only a job's options can say about a scanned file. Pure: creation and planner come to the same end. */
export interface Judgement {
  /** At most 100, in line order. */
  readonly errors: readonly InputError[];
  readonly errorCount: number;
}

/**
 * Judges a file's summary by the options of a job.
 * @param params.openai OpenAI's rules: every line has a `custom_id`, and its `url` is the batch's endpoint.
 */
export function judge(params: { summary: ScanSummary; options: JobOptions; openai: boolean }): Judgement {
  const { summary, options, openai } = params;
  const errors: InputError[] = [];
  let errorCount = 0;
  const report = (
    group: { count: number; lines: readonly number[] },
    code: string,
    param: string,
    what: string,
  ): void => {
    errorCount += group.count;
    for (const line of group.lines) errors.push({ line, param, code, message: `Line ${line}: ${what}` });
  };
  if (options.endpoint === undefined) {
    report(
      summary.linesWithoutUrl,
      'missing_url',
      'url',
      'url is missing, and the job has no endpoint to use instead',
    );
  }
  if (modelOf(options) === null) {
    report(
      summary.linesWithoutModel,
      'missing_model',
      'body.model',
      'body.model is missing, and the job has no model to use instead',
    );
  }
  if (openai && summary.linesWithoutCustomId !== undefined) {
    report(summary.linesWithoutCustomId, 'missing_custom_id', 'custom_id', 'custom_id is missing');
  }
  if (openai && options.endpoint !== undefined) {
    for (const [url, group] of Object.entries(summary.urls)) {
      if (url === options.endpoint) continue;
      report(
        group,
        'mismatched_url',
        'url',
        `url is ${url}, but the endpoint of the batch is ${options.endpoint}`,
      );
    }
  }
  errors.sort((left, right) => (left.line ?? 0) - (right.line ?? 0));
  return { errors: errors.slice(0, LIMITS.reportedErrors), errorCount };
}

/** Model of bodies without one: `defaults.model` is merged first. */
export function modelOf(options: JobOptions): string | null {
  const fromDefaults = options.defaults?.model;
  return typeof fromDefaults === 'string' ? fromDefaults : (options.model ?? null);
}

/** The shards of a judged file. */
export function shardsOf(summary: ScanSummary, options: JobOptions): NewShard[] {
  const model = modelOf(options);
  return summary.shards.map((range) => ({
    first: range.first,
    count: range.count,
    offset: range.offset,
    bytes: range.bytes,
    model: range.model ?? model ?? '',
  }));
}

/** Models that the job's items name, the default one among them when a line needs it; sorted. */
export function modelsOf(summary: ScanSummary, options: JobOptions): string[] {
  const models = new Set(Object.keys(summary.models));
  const model = modelOf(options);
  if (summary.linesWithoutModel.count > 0 && model !== null) models.add(model);
  return [...models].sort();
}

/** Items by model, lines without one counted under the job's. */
export function itemsByModel(summary: ScanSummary, options: JobOptions): Record<string, number> {
  const items = new Map(Object.entries(summary.models));
  const model = modelOf(options);
  if (summary.linesWithoutModel.count > 0 && model !== null) {
    items.set(model, (items.get(model) ?? 0) + summary.linesWithoutModel.count);
  }
  return Object.fromEntries(items);
}
