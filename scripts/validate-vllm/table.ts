/** One row of the table. */
export interface Check {
  readonly name: string;
  readonly seen: string;
  /** `null`: a figure, without a right or wrong. */
  readonly holds: boolean | null;
}

const WORDS = new Map<boolean | null, string>([
  [true, 'yes'],
  [false, '**NO**'],
  [null, '–'],
]);

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');

export function toMarkdown(checks: readonly Check[]): string {
  const rows = checks.map(
    ({ name, seen, holds }) => `| ${cell(name)} | ${cell(seen)} | ${WORDS.get(holds)} |`,
  );
  return ['| check | seen | holds |', '|---|---|---|', ...rows, ''].join('\n');
}

export const share = (value: number): string =>
  Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : 'not told';
export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
export const rate = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
