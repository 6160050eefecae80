import { expect, it } from 'vitest';
import { renderTable, showEstimate } from './report.ts';

it('renders a table as Markdown', () => {
  expect(renderTable({ caption: 'What', columns: ['a', 'b'], rows: [['1', '2']] })).toBe(
    'What\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n',
  );
});

it('shows a median with its interval, and a single value without', () => {
  expect(showEstimate([1, 3, 2])).toBe('2.00 (1.00–3.00)');
  expect(showEstimate([1.26], 1)).toBe('1.3');
  expect(showEstimate([])).toBe('–');
});
