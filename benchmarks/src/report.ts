import { cpus, loadavg, platform, release, totalmem } from 'node:os';
import { estimate } from './stats.ts';

/** One Markdown table with what its figures were taken from. */
export interface Table {
  readonly caption: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export function renderTable({ caption, columns, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [caption, '', line(columns), line(columns.map(() => '---')), ...rows.map(line), ''].join('\n');
}

/** Median and interval, such as `1.05 (1.02–1.09)`. */
export function showEstimate(values: readonly number[], digits = 2): string {
  if (values.length === 0) return '–';
  const { median, low, high } = estimate(values);
  const show = (value: number) => value.toFixed(digits);
  return values.length === 1 ? show(median) : `${show(median)} (${show(low)}–${show(high)})`;
}

export const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

export function describeMachine(): string {
  const [first] = cpus();
  return [
    `${cpus().length} × ${first?.model.trim() ?? 'unknown CPU'}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${platform()} ${release()}`,
    `Node ${process.versions.node}`,
  ].join(' · ');
}

export const describeLoad = (): string =>
  loadavg()
    .map((value) => value.toFixed(1))
    .join(' ');
